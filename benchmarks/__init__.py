"""Speed of every path, compared with what the machine could reach: `refhcm bench`."""
