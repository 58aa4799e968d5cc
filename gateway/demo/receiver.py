"""The demo's webhook receiver: it believes nothing that is not signed with its secret."""

import asyncio
import base64
import hmac
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.config import LimitsConfig
from gateway.exchange import Exchange
from gateway.server import Server
from monitors.alerts.signing import PREFIX, parse_secrets, signature
from router.clock import Clock

PATH = "/hook"
TOLERANCE_S = 300
_LIMITS = LimitsConfig(body_bytes=65_536, connections=16, in_flight=16)
_MOST_EVENTS = 64
_DRAIN_S = 1.0


def new_secret() -> str:
    """Return a fresh signing secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_signed(secret: str, headers: dict[bytes, bytes], body: bytes, now_s: int) -> bool:
    """Say whether a message is signed with a secret, and not an old one sent again.

    Parameters
    ----------
    headers : dict
        Names in lower case.
    now_s : int
        Seconds since the epoch.

    References
    ----------
    Standard Webhooks 1.0.0, "Verifying webhook authenticity".
    """
    try:
        message_id = headers[b"webhook-id"].decode("ascii")
        timestamp_s = int(headers[b"webhook-timestamp"])
        shown = headers[b"webhook-signature"].decode("ascii").split(" ")
    except (KeyError, ValueError):
        return False
    if abs(now_s - timestamp_s) > TOLERANCE_S:
        return False
    expected = signature(parse_secrets(secret), message_id, timestamp_s, body)
    return any(hmac.compare_digest(expected, one) for one in shown)


class Receiver:
    """Answers 204 to signed messages and keeps them, 401 to all others.

    Attributes
    ----------
    url : str
        What goes into the gateway's configuration.
    events : asyncio.Queue
        Verified bodies, parsed.
    refused : int
        Messages without a valid signature.
    """

    def __init__(self, clock: Clock) -> None:
        self.secret = new_secret()
        self.url = ""
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_EVENTS)
        self.refused = 0
        self._clock = clock

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        """Listen on a free port of this machine for as long as the block runs."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
            server = Server(self, limits=_LIMITS, clock=self._clock)
            await server.start([listener])
            try:
                yield self
            finally:
                server.stop_accepting()
                await server.drain(_DRAIN_S)

    async def __call__(self, exchange: Exchange) -> None:
        """Take one message."""
        body = await exchange.body()
        exchange.start(self._take(dict(exchange.headers), body), [], length=0)
        exchange.finish()

    def _take(self, headers: dict[bytes, bytes], body: bytes) -> int:
        lower = {name.lower(): value for name, value in headers.items()}
        if not is_signed(self.secret, lower, body, self._clock.now_us() // 1_000_000):
            self.refused += 1
            return 401
        if self.events.full():
            return 503
        self.events.put_nowait(json.loads(body))
        return 204
