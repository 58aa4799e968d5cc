"""The hidden command `_apprise`: one notification from standard input, errors to the output.

Says nothing when the service took it.
"""

import importlib
import json
import logging
import socket
import sys
from typing import Any

import click

from monitors.alerts.address import allowed, is_public
from monitors.errors import AddressRefused

_MISSING = "the channel `apprise` needs a library; install it with `pip install driftgate[notify]`"
_REFUSED = "Apprise does not know the `url` of this channel; see the list of its services"
_FAILED = "the service did not take it"
_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class _LastWords(logging.Handler):
    """Keeps what the library complained of: its result is a bare yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = _FAILED

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.said = record.getMessage()


class _Guard:
    """Refuses connections to addresses that are not public, whichever library makes them.

    What an Apprise URL leads to is known to its service's code alone, so the address is looked at
    where a socket connects: names are resolved by then, redirects and mail servers found.
    """

    def __init__(self) -> None:
        self.refused = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at what a socket is about to do."""
        # Addresses of other families, such as of the system's log, are paths on this machine.
        if event in _CONNECTIONS and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            try:
                allowed(host, _addresses(host), allow_private=False)
            except AddressRefused as error:
                self.refused = str(error)
                raise PermissionError(str(error)) from error


def _addresses(host: str) -> list[str]:
    # A name is left when a library lets the socket resolve it: then each address must do.
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, None)]
    private = [address for address in found if not is_public(address)]
    return private or found


def notified(asked: dict[str, Any]) -> str:
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
    guard = _Guard()
    if not asked.get("allow_private"):
        # It cannot be taken off: this process sends one notification.
        sys.addaudithook(guard)
    sent = sender.notify(body=asked["body"], title=asked["title"], notify_type=asked["type"])
    return "" if sent else guard.refused or words.said


@click.command(hidden=True)
def apprise() -> None:
    """Send one notification."""
    sys.stdout.write(notified(json.loads(sys.stdin.read())))
