"""`python -m multiedge` is the command `multiedge`."""

import sys

from multiedge.cli import main

if __name__ == "__main__":
    sys.exit(main())
