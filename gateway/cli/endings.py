"""How a command that prints for long ends: by Ctrl-C, or when nobody reads any more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_ending() -> Iterator[None]:
    """Take Ctrl-C and a closed pipe for the end of the output, not for a fault."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # Or the interpreter would complain once more when it flushes on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
