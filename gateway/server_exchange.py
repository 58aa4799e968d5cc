"""One request and its answer over HTTP/1.1: the server's `gateway.exchange.Exchange`."""

import asyncio
from typing import Protocol

from gateway.errors import InvalidRequest, RequestError, RequestTimedOut, RequestTooLarge
from gateway.request_reader import RequestHead
from gateway.response_head import Framing, ResponseHeads
from router.upstream import Headers

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Wire(Protocol):
    """What an exchange needs of its connection."""

    heads: ResponseHeads
    body_limit_bytes: int
    client: str

    @property
    def closing(self) -> bool:
        """True when no further request will be read."""
        ...

    def send(self, data: bytes) -> None:
        """Write to the client; dropped when it is gone."""
        ...

    def want_body(self) -> None:
        """Read on, and call `ServerExchange.time_out` when the body takes too long."""
        ...

    async def writable(self) -> None:
        """Wait until the client has taken enough."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Close after what was written, or with a reset at once."""
        ...


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
    buffered_bytes : int
        Of the body, so far.
    wanted : bool
        `body` was called.
    """

    __slots__ = (
        "_chunked",
        "_fault",
        "_head",
        "_http11",
        "_index",
        "_left_bytes",
        "_parts",
        "_silent",
        "_until_close",
        "_waiter",
        "_wire",
        "buffered_bytes",
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
        ) = head
        self.client = wire.client
        self.responded = False
        self.complete = False
        self.finished = False
        self.wanted = False
        self.buffered_bytes = 0
        self._wire = wire
        self._parts: list[bytes] = []
        self._fault: RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head: tuple[int, Headers, int | None] | None = None
        self._chunked = False
        self._silent = False
        self._until_close = False
        self._left_bytes: int | None = None
        length = self._index.get(b"content-length")
        if length is not None and int(length) > wire.body_limit_bytes:
            self._fault = self._too_large()

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
        self.buffered_bytes += len(data)
        if self.buffered_bytes > self._wire.body_limit_bytes:
            self.fail(self._too_large())
        else:
            self._parts.append(data)

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
        """Let `body` raise `RequestTimedOut`."""
        self.fail(RequestTimedOut("the body did not arrive within `gateway.limits.body_timeout`"))

    def break_off(self, message: str) -> None:
        """Let `body` raise `InvalidRequest`: its framing is broken."""
        self.fail(InvalidRequest(message))

    async def body(self) -> bytes:
        """Return the whole body; see `gateway.exchange.Exchange.body`."""
        self.wanted = True
        if not self.complete and self._fault is None:
            await self._receive()
        if self._fault is not None:
            raise self._fault
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    async def _receive(self) -> None:
        expects = self._http11 and b"expect" in self._index
        if expects and not self.buffered_bytes and not self.responded:
            self._wire.send(_CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        self._wire.want_body()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(
            f"the body is larger than the {self._wire.body_limit_bytes} bytes"
            " of `gateway.limits.body_bytes`"
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

    def write(self, chunk: bytes) -> None:
        """Send a part of the body; an empty one sends the head alone.

        Raises
        ------
        ValueError
            More than the declared length, or a header that would split the answer.
        """
        if self.finished:
            raise RuntimeError("the answer is finished; nothing may follow")
        data = self._encoded(chunk, last=False)
        if data:
            self._wire.send(data)

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
