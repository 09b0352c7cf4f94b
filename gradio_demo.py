"""Serves the web page: the same as `refhcm web`."""

import sys

from refhcm.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["web", *sys.argv[1:]]))
