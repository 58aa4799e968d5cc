"""One request and its answer over HTTP/1.1: the server's `gateway.exchange.Exchange`."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.config import LimitsConfig
from gateway.errors import InvalidRequest, RequestError, RequestTimedOut, RequestTooLarge
from gateway.intake import Intake
from gateway.request_reader import RequestHead
from gateway.response_head import CLOSE, ResponseHeads
from gateway.server_state import AHEAD_BYTES
from gateway.write_gate import WriteGate
from router.clock import Clock
from router.upstream import Duplex, Headers

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_BODYLESS = frozenset({204, 304})

STEP_BYTES = 65_536
"""Of a body passed on: so much has to arrive within `gateway.limits.body_timeout`."""


class Wire(Protocol):
    """What an exchange needs of its connection."""

    heads: ResponseHeads
    limits: LimitsConfig
    clock: Clock
    gate: WriteGate
    intake: Intake
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
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.started_s = head.started_s
        self.upgrade = head.upgrade
        self.keep_alive = head.keep_alive
        self._http11 = head.http11
        self._index = index = head.fields
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
        length = index.get(b"content-length")
        if length is not None:
            self.body_length: int | None = int(length)
        else:
            self.body_length = None if b"transfer-encoding" in index else 0

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        return self._index.get(name)

    @property
    def accepts_interim(self) -> bool:
        """True while an interim response may be sent."""
        return self._http11 and not self.responded

    # The request's body, fed by the connection.

    def add_body(self, data: bytes) -> None:
        """Keep a part of the body, or nothing more once it is too large."""
        if self._fault is not None:
            self._wire.intake.pause()
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
            self._wire.intake.pause()

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
        if self._chunked and chunk:
            # Every chunk of a stream after the first comes here: one object, one write.
            return self._wire.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        data = self._encoded(chunk, last=False)
        return self._wire.send(data) if data else True

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once; see `gateway.exchange.Exchange.when_writable`."""
        self._wire.gate.when_open(callback)

    async def drain(self) -> None:
        """Wait until the client has taken enough that more may be written."""
        await self._wire.gate.wait()

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
        head = self._framed_head(len(chunk), last=last) if self._head is not None else b""
        if self._silent:
            return head
        if self._left_bytes is not None:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise ValueError(f"the answer is {-self._left_bytes} bytes longer than declared")
        elif self._chunked:
            end = _LAST_CHUNK if last else b""
            return b"%b%x\r\n%b\r\n%b" % (head, len(chunk), chunk, end) if chunk else head + end
        elif not self.responded:
            raise RuntimeError("`start` comes before `write` and `finish`")
        return head + chunk if head else chunk

    def _framed_head(self, chunk_bytes: int, *, last: bool) -> bytes:
        """Return the head, and decide how the answer is framed."""
        assert self._head is not None
        status, headers, length = self._head
        self._head = None
        http11, wire = self._http11, self._wire
        bodyless = status in _BODYLESS
        if length is None:
            if last and not bodyless:
                length = chunk_bytes
            else:
                self._chunked = http11 and not bodyless
                self._until_close = not (http11 or bodyless)
        elif status == 204:
            length = None
        # What was not read cannot be told from a next request, so nothing may follow it.
        if not self.complete or self._until_close or wire.closing:
            self.keep_alive = False
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        if bodyless or self.method == "HEAD":
            self._silent = True
            self._chunked = False
        else:
            self._left_bytes = length
        if not self.keep_alive:
            framing += CLOSE
        elif not http11:
            framing += b"connection: keep-alive\r\n"
        return wire.heads.head(status, headers, framing)
