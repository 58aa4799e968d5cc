"""One request and its answer over HTTP/1.1: the server's `gateway.exchange.Exchange`."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.config import LimitsConfig
from gateway.errors import InvalidRequest, RequestError, RequestTimedOut, RequestTooLarge
from gateway.request_reader import RequestHead
from gateway.response_head import Framing, ResponseHeads
from router.clock import Clock
from router.upstream import Duplex, Headers

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"

STEP_BYTES = 65_536
"""Of a body passed on: so much has to arrive within `gateway.limits.body_timeout`."""


class Wire(Protocol):
    """What an exchange needs of its connection."""

    heads: ResponseHeads
    limits: LimitsConfig
    clock: Clock
    client: str

    @property
    def closing(self) -> bool:
        """True when no further request will be read."""
        ...

    def send(self, data: bytes) -> bool:
        """Write to the client, dropped when it is gone; False when it reads too slowly."""
        ...

    def want_body(self, wait_s: float) -> None:
        """Read on, and call `ServerExchange.time_out` after so long."""
        ...

    async def writable(self) -> None:
        """Wait until the client has taken enough."""
        ...

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back when the client has taken enough or is gone."""
        ...

    def switch(self, head: bytes) -> Duplex:
        """Send the head of a 101 answer and hand over the connection."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Close after what was written, or with a reset at once."""
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


class ServerExchange:
    """Implements `gateway.exchange.Exchange`; made when a request's head is complete.

    Attributes
    ----------
    complete : bool
        The whole body has arrived.
    finished : bool
        The whole answer was handed to the transport.
    keep_alive : bool
        The client asked for it; once the head is sent: what the client was told.
    body_length : int or None
        Declared bytes of the body, 0 without one, None when it is chunked.
    unread_bytes : int
        Of the body, held here.
    wanted : bool
        Somebody waits for the body, or for its next part.
    """

    __slots__ = (
        "_chunked",
        "_fault",
        "_head",
        "_http11",
        "_index",
        "_left_bytes",
        "_limit_bytes",
        "_parts",
        "_progress",
        "_received_bytes",
        "_silent",
        "_until_close",
        "_waiter",
        "_wire",
        "body_length",
        "client",
        "complete",
        "finished",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "responded",
        "started_s",
        "unread_bytes",
        "upgrade",
        "wanted",
    )

    def __init__(self, head: RequestHead, wire: Wire) -> None:
        (
            self.method,
            self.path,
            self.query,
            self.headers,
            self._index,
            self._http11,
            self.keep_alive,
            self.started_s,
            self.upgrade,
        ) = head
        self.client = wire.client
        self.responded = False
        self.complete = False
        self.finished = False
        self.wanted = False
        self.unread_bytes = 0
        self._wire = wire
        self._parts: list[bytes] = []
        self._fault: RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head: tuple[int, Headers, int | None] | None = None
        self._chunked = False
        self._silent = False
        self._until_close = False
        self._left_bytes: int | None = None
        self._progress: Progress | None = None
        self._received_bytes = 0
        self._limit_bytes = wire.limits.stream_bytes
        length = self._index.get(b"content-length")
        if length is not None:
            self.body_length: int | None = int(length)
        else:
            self.body_length = None if b"transfer-encoding" in self._index else 0

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        return self._index.get(name)

    @property
    def accepts_interim(self) -> bool:
        """True while an interim response may be sent."""
        return self._http11 and not self.responded

    @property
    def takes_body(self) -> bool:
        """True when somebody waits for more of the body."""
        return self.wanted and self._fault is None

    # The request's body, fed by the connection.

    def add_body(self, data: bytes) -> None:
        """Keep a part of the body, or nothing more once it is too large."""
        if self._fault is not None:
            return
        self.unread_bytes += len(data)
        self._received_bytes += len(data)
        if self._received_bytes > self._limit_bytes:
            self.fail(self._too_large())
            return
        self._parts.append(data)
        if self._progress is not None:
            self._wake()

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
        limits = self._wire.limits
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
        limits = self._wire.limits
        if self._progress is None:
            self._progress = Progress(limits.body_timeout)
            self._limit(limits.stream_bytes)
        if not (self._parts or self.complete) and self._fault is None:
            began_s = self._wire.clock.monotonic()
            await self._receive(self._progress.left_s)
            self._progress.waited(self._wire.clock.monotonic() - began_s, self._received_bytes)
        if self._fault is not None:
            raise self._fault
        parts, self._parts = self._parts, []
        self.unread_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _limit(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        if max(self.body_length or 0, self._received_bytes) > limit_bytes:
            self.fail(self._too_large())

    async def _receive(self, wait_s: float) -> None:
        expects = self._http11 and b"expect" in self._index
        if expects and not self._received_bytes and not self.responded:
            self._wire.send(_CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        self.wanted = True
        self._wire.want_body(wait_s)
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

    # The answer.

    def start(self, status: int, headers: Headers, *, length: int | None = None) -> None:
        """Set status and headers; see `gateway.exchange.Exchange.start`.

        Raises
        ------
        RuntimeError
            The answer was started already.
        """
        if self.responded:
            raise RuntimeError("the answer was started already; an exchange has one")
        self.responded = True
        self._head = (status, headers, length)

    def write(self, chunk: bytes) -> bool:
        """Send a part of the body; an empty one sends the head alone.

        Returns
        -------
        bool
            False when the client reads too slowly.

        Raises
        ------
        ValueError
            More than the declared length, or a header that would split the answer.
        """
        if self.finished:
            raise RuntimeError("the answer is finished; nothing may follow")
        data = self._encoded(chunk, last=False)
        return self._wire.send(data) if data else True

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once; see `gateway.exchange.Exchange.when_writable`."""
        self._wire.when_writable(callback)

    async def drain(self) -> None:
        """Wait until the client has taken enough that more may be written."""
        await self._wire.writable()

    def finish(self, chunk: bytes = b"") -> None:
        """Send the last part and end the answer.

        Raises
        ------
        ValueError
            The parts do not add up to the declared length.
        """
        if self.finished:
            return
        data = self._encoded(chunk, last=True)
        if self._left_bytes:
            raise ValueError(f"the answer is {self._left_bytes} bytes shorter than declared")
        self.finished = True
        if data:
            self._wire.send(data)

    def abort(self) -> None:
        """Cut the connection after what was written, without what would end the answer.

        An answer that ends with the connection (HTTP/1.0) is cut by a reset, as its client could
        not tell a close from the end. After `finish` this does nothing.
        """
        if not self.finished:
            self._wire.cut(reset=self._until_close)

    def switch(self, headers: Headers) -> Duplex:
        """Answer 101 and hand over the connection; see `gateway.exchange.Exchange.switch`."""
        if self.responded or not self.upgrade:
            raise RuntimeError("only an upgrade request that was not answered can switch")
        head = self._wire.heads.switching(headers, self.upgrade)
        self.responded = self.finished = True
        self.keep_alive = False
        return self._wire.switch(head)

    def _encoded(self, chunk: bytes, *, last: bool) -> bytes:
        head = self._start_sending(len(chunk), last=last)
        if self._silent:
            return head
        if self._left_bytes is not None:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise ValueError(f"the answer is {-self._left_bytes} bytes longer than declared")
        elif self._chunked:
            framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
            return head + framed + _LAST_CHUNK if last else head + framed
        return head + chunk if head else chunk

    def _start_sending(self, chunk_bytes: int, *, last: bool) -> bytes:
        """Return the head if it was not sent, and decide how the answer is framed."""
        if self._head is None:
            if not self.responded:
                raise RuntimeError("`start` comes before `write` and `finish`")
            return b""
        status, headers, length = self._head
        self._head = None
        bodyless = status in {204, 304}
        if length is None and last and not bodyless:
            length = chunk_bytes
        elif status == 204:
            length = None
        self._silent = bodyless or self.method == "HEAD"
        self._until_close = length is None and not bodyless and not self._http11
        # What was not read cannot be told from a next request, so nothing may follow it.
        if not self.complete or self._until_close or self._wire.closing:
            self.keep_alive = False
        self._chunked = length is None and self._http11 and not bodyless
        if not self._silent:
            self._left_bytes = length
        connection = b"close"
        if self.keep_alive:
            connection = b"" if self._http11 else b"keep-alive"
        return self._wire.heads.head(status, headers, Framing(length, self._chunked, connection))
