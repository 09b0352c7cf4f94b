"""Asks several tasks in one instruction (S1 decoding): the same as `refhcm chain`."""

import sys

from refhcm.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["chain", *sys.argv[1:]]))
