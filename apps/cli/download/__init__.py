"""`refhcm download`: the published vocabulary, weights and data set."""
