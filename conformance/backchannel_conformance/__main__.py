"""``python -m backchannel_conformance``."""

import sys

from backchannel_conformance.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
