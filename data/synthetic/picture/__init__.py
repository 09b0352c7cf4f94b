"""Drawn people as pictures: figures, wardrobe, scenes, and the truth about each pixel."""
