"""`refhcm data`: tables made from data sets, and checked."""
