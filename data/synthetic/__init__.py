"""Drawn people: pictures with exact truth for every task. `python -m refhcm.data.synthetic --help`."""
