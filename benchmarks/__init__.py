"""How fast every path is beside what the machine could do: `refhcm bench`."""
