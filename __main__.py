"""`python -m refhcm`: the command line of `refhcm`."""

import sys

from refhcm.tasks.cli import main

if __name__ == "__main__":
    sys.exit(main())
