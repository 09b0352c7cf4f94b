"""`refhcm download`: gets the published vocabulary, weights and data set."""
