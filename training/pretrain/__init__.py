"""Pretraining on drawn people: backbone and encoder learn to see them before the network answers."""
