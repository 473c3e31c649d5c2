"""`python -m unimsg.cli`: the command where its script is not on the path."""

import sys

from unimsg.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
