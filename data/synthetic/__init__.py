"""Drawn people: pictures with exact truth for every task. `refhcm world --help`."""
