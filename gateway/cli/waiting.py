"""A line on stderr while something takes long, for people at a terminal alone."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

AFTER_S = 1.0
"""Seconds of silence before a line is written."""
EVERY_S = 0.5
_CLEAR = "\r\x1b[K"


@contextmanager
def telling(what: str, *, after_s: float = AFTER_S, stream: TextIO | None = None) -> Iterator[None]:
    """Write what is going on, and for how long, while the block runs; the line goes at its end.

    Parameters
    ----------
    stream : TextIO, optional
        Default stderr; nothing is written where that is no terminal.
    """
    target = sys.stderr if stream is None else stream
    if not target.isatty():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_tell, args=(what, after_s, target, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell(what: str, after_s: float, target: TextIO, ended: threading.Event) -> None:
    if ended.wait(after_s):
        return
    waited_s = after_s
    while True:
        target.write(f"{_CLEAR}monitor: {what}, {waited_s:.0f} s")
        target.flush()
        if ended.wait(EVERY_S):
            break
        waited_s += EVERY_S
    target.write(_CLEAR)
    target.flush()
