"""`python -m driftgate`: how the supervisor starts its children."""

import sys

from driftgate import main

if __name__ == "__main__":
    sys.exit(main())
