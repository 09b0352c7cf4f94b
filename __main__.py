"""`python -m refhcm`: the command line of `refhcm`."""

import sys

from refhcm.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
