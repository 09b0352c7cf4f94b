"""RefHCM: box, keypoints, parts and caption of the person you describe (arXiv 2412.14643)."""
