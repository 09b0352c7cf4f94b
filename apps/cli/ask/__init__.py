"""`refhcm ask`: questions about many pictures, answered into one file."""
