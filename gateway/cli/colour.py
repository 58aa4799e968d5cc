"""Whether output is coloured."""

import os
import sys


def wants_colour() -> bool:
    """Say whether stdout takes colours; see no-color.org."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()
