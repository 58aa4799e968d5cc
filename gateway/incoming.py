"""The request half of an exchange: its head, and its body as it arrives within bounds."""

import asyncio
from typing import Protocol

from gateway.config import LimitsConfig
from gateway.errors import InvalidRequest, RequestError, RequestTimedOut, RequestTooLarge
from gateway.request_reader import RequestHead
from gateway.server_state import AHEAD_BYTES
from router.clock import Clock

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

STEP_BYTES = 65_536
"""Of a body passed on: so much has to arrive within `gateway.limits.body_timeout`."""


class Brake(Protocol):
    """Stops what brings the body."""

    def pause(self) -> None:
        """Bring no more until it is wanted."""
        ...


class BodyWire(Protocol):
    """What a request needs of its connection."""

    limits: LimitsConfig
    clock: Clock
    client: str

    @property
    def intake(self) -> Brake:
        """Return what stops the body."""
        ...

    def send(self, data: bytes) -> bool:
        """Write to the client, dropped when it is gone; False when it reads too slowly."""
        ...

    def want_body(self, wait_s: float) -> None:
        """Read on, and call `Incoming.time_out` after so long."""
        ...


class Progress:
    """Bounds the wait for a body that is passed on: every 64 KiB have so long to arrive."""

    __slots__ = ("_from_bytes", "_wait_s", "left_s")

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._from_bytes = 0
        self.left_s = wait_s

    def waited(self, seconds: float, received_bytes: int) -> None:
        """Note a wait that has ended."""
        self.left_s = max(0.0, self.left_s - seconds)
        if received_bytes - self._from_bytes >= STEP_BYTES:
            self._from_bytes = received_bytes
            self.left_s = self._wait_s


class Incoming:
    """One request; the base of what implements `gateway.exchange.Exchange`.

    Attributes
    ----------
    complete : bool
        The whole body has arrived.
    responded : bool
        The answer was started.
    body_length : int or None
        Declared bytes of the body, 0 without one, None when it is chunked.
    unread_bytes : int
        Of the body, held here.
    wanted : bool
        Somebody waits for the body, or for its next part.
    """

    __slots__ = (
        "_body_wire",
        "_fault",
        "_http11",
        "_index",
        "_limit_bytes",
        "_parts",
        "_progress",
        "_received_bytes",
        "_waiter",
        "body_length",
        "client",
        "complete",
        "headers",
        "method",
        "path",
        "query",
        "responded",
        "started_s",
        "unread_bytes",
        "upgrade",
        "wanted",
    )

    def __init__(self, head: RequestHead, wire: BodyWire) -> None:
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.started_s = head.started_s
        self.upgrade = head.upgrade
        self._http11 = head.http11
        self._index = index = head.fields
        self.client = wire.client
        self.responded = False
        self.complete = False
        self.wanted = False
        self.unread_bytes = 0
        self._body_wire = wire
        self._parts: list[bytes] = []
        self._fault: RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._progress: Progress | None = None
        self._received_bytes = 0
        self._limit_bytes = wire.limits.stream_bytes
        length = index.get(b"content-length")
        if length is not None:
            self.body_length: int | None = int(length)
        else:
            self.body_length = None if b"transfer-encoding" in index else 0

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        return self._index.get(name)

    # The request's body, fed by the connection.

    def add_body(self, data: bytes) -> None:
        """Keep a part of the body, or nothing more once it is too large."""
        if self._fault is not None:
            self._body_wire.intake.pause()
            return
        size = len(data)
        self.unread_bytes += size
        self._received_bytes += size
        if self._received_bytes > self._limit_bytes:
            self.fail(self._too_large())
            return
        self._parts.append(data)
        if self._progress is not None:
            self._wake()
        if self.unread_bytes > AHEAD_BYTES and not self.wanted:
            self._body_wire.intake.pause()

    def end_body(self) -> None:
        """Note that the body is complete."""
        self.complete = True
        self._wake()

    def fail(self, error: RequestError) -> None:
        """Let `body` raise an error: the body cannot be had."""
        self._parts.clear()
        self._fault = error
        self._wake()

    def time_out(self) -> None:
        """Let whoever waits for the body get `RequestTimedOut`."""
        if self.wanted:
            message = "the body did not arrive within `gateway.limits.body_timeout`"
            self.fail(RequestTimedOut(message))

    def break_off(self, message: str) -> None:
        """Let `body` raise `InvalidRequest`: its framing is broken."""
        self.fail(InvalidRequest(message))

    async def body(self) -> bytes:
        """Return the whole body; see `gateway.exchange.Exchange.body`."""
        limits = self._body_wire.limits
        self._limit(limits.body_bytes)
        if not self.complete and self._fault is None:
            await self._receive(limits.body_timeout)
        if self._fault is not None:
            raise self._fault
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    async def read(self) -> bytes:
        """Return the next part of the body; see `gateway.exchange.Exchange.read`."""
        limits = self._body_wire.limits
        if self._progress is None:
            self._progress = Progress(limits.body_timeout)
            self._limit(limits.stream_bytes)
        if not (self._parts or self.complete) and self._fault is None:
            began_s = self._body_wire.clock.monotonic()
            await self._receive(self._progress.left_s)
            self._progress.waited(self._body_wire.clock.monotonic() - began_s, self._received_bytes)
        if self._fault is not None:
            raise self._fault
        parts, self._parts = self._parts, []
        self.unread_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _limit(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        if (self.body_length or self._received_bytes) > limit_bytes:
            self.fail(self._too_large())

    async def _receive(self, wait_s: float) -> None:
        expects = self._http11 and b"expect" in self._index
        if expects and not self._received_bytes and not self.responded:
            self._body_wire.send(CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        self.wanted = True
        self._body_wire.want_body(wait_s)
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self.wanted = False
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _too_large(self) -> RequestTooLarge:
        key = "body_bytes" if self._progress is None else "stream_bytes"
        return RequestTooLarge(
            f"the body is larger than the {self._limit_bytes} bytes of `gateway.limits.{key}`"
        )
