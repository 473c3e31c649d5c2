"""Run `python -m tests.fuzz`; the work is in stanzas.py, which other processes can import."""

import sys

from tests.fuzz.stanzas import main

if __name__ == "__main__":
    sys.exit(main())
