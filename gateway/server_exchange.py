"""One request and its answer over HTTP/1.1: the server's `gateway.exchange.Exchange`."""

from collections.abc import Callable
from typing import Protocol

from gateway.incoming import BodyWire, Incoming
from gateway.request_reader import RequestHead
from gateway.response_head import CLOSE, ResponseHeads
from gateway.write_gate import WriteGate
from router.upstream import Duplex, Headers

_LAST_CHUNK = b"0\r\n\r\n"
_BODYLESS = frozenset({204, 304})


class Wire(BodyWire, Protocol):
    """What an exchange needs of its connection."""

    heads: ResponseHeads
    gate: WriteGate

    @property
    def closing(self) -> bool:
        """True when no further request will be read."""
        ...

    def switch(self, head: bytes) -> Duplex:
        """Send the head of a 101 answer and hand over the connection."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Close after what was written, or with a reset at once."""
        ...


class ServerExchange(Incoming):
    """Implements `gateway.exchange.Exchange`; made when a request's head is complete.

    Attributes
    ----------
    finished : bool
        The whole answer was handed to the transport.
    keep_alive : bool
        The client asked for it; once the head is sent: what the client was told.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_left_bytes",
        "_silent",
        "_until_close",
        "_wire",
        "finished",
        "keep_alive",
    )

    def __init__(self, head: RequestHead, wire: Wire) -> None:
        super().__init__(head, wire)
        self.keep_alive = head.keep_alive
        self.finished = False
        self._wire = wire
        self._head: tuple[int, Headers, int | None] | None = None
        self._chunked = False
        self._silent = False
        self._until_close = False
        self._left_bytes: int | None = None

    @property
    def accepts_interim(self) -> bool:
        """True while an interim response may be sent."""
        return self._http11 and not self.responded

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
                # HEAD asks for what GET would say; that GET's body were empty is said by nobody.
                length = chunk_bytes if chunk_bytes or self.method != "HEAD" else None
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
