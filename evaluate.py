"""Answers every row of a table with a checkpoint and scores the answers: the same as `refhcm evaluate`."""

import sys

from refhcm.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
