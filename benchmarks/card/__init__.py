"""A whole measurement of one GPU in a few minutes: `python -m refhcm.benchmarks.card` (docs/speed.md)."""
