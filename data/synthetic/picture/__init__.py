"""Drawn people as pictures: figures, clothes, scenes, and the truth about each pixel."""
