"""Asking a trained model: load -> Predictor -> Answer; drawing and exporting answers."""
