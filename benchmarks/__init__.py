"""How fast every path is beside what the machine could do: `python -m refhcm.benchmarks`."""
