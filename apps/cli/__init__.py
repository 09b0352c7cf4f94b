"""The `refhcm` command, one file for each sub-command."""
