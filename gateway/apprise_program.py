"""The hidden command `_apprise`: one notification from standard input, errors to the output.

Says nothing when the service took it.
"""

import importlib
import json
import logging
import sys
from typing import Any

import click

_MISSING = "the channel `apprise` needs a library; install it with `pip install driftgate[notify]`"
_REFUSED = "Apprise does not know the `url` of this channel; see the list of its services"
_FAILED = "the service did not take it"


class _LastWords(logging.Handler):
    """Keeps what the library complained of: its result is a bare yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = _FAILED

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.said = record.getMessage()


def notified(asked: dict[str, str]) -> str:
    """Send; return what went wrong, or nothing."""
    try:
        library: Any = importlib.import_module("apprise")
    except ImportError:
        return _MISSING
    words = _LastWords()
    logging.getLogger("apprise").addHandler(words)
    sender = library.Apprise()
    if not sender.add(asked["url"]):
        # Not its own words: they may repeat the URL, and with it a token.
        return _REFUSED
    sent = sender.notify(body=asked["body"], title=asked["title"], notify_type=asked["type"])
    return "" if sent else words.said


@click.command(hidden=True)
def apprise() -> None:
    """Send one notification."""
    sys.stdout.write(notified(json.loads(sys.stdin.read())))
