"""The seam the rest of the gateway sees: one request in, one answer out.

A server (the protocol pair, or an ASGI adapter) makes an `Exchange` for every request whose head
has been read and awaits the handler with it. The handler task is cancelled when the client goes
away; everything it writes after that is dropped.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from router.upstream import Duplex, Headers


class Exchange(Protocol):
    """One request and its answer.

    Attributes
    ----------
    method : str
        Upper case, such as ``"POST"``.
    path : str
        Path of the request target, still percent-encoded, without the query.
    query : bytes
        What follows the question mark, without it.
    headers : list of (bytes, bytes)
        As received.
    client : str
        Peer address, "" for Unix sockets.
    started_s : float
        `Clock.monotonic` when the request's first byte was read.
    responded : bool
        True once `start` or `switch` was called: the status can no longer be changed.
    body_length : int or None
        Declared bytes of the body, 0 without one, None when it is chunked.
    upgrade : bytes
        Lower-case protocol of a sound HTTP/1.1 upgrade request (one token, no body), else b"".
        It may be ignored: the request is then answered like any other, and its connection closed.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    client: str
    started_s: float
    responded: bool
    body_length: int | None
    upgrade: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        ...

    async def body(self) -> bytes:
        """Return the whole body.

        Raises
        ------
        gateway.errors.RequestTooLarge
            It is longer than the server's limit; the connection closes after the answer.
        gateway.errors.RequestTimedOut
            It did not arrive in time.
        """
        ...

    async def read(self) -> bytes:
        """Return the next part of the body as it arrives, b"" at its end.

        For bodies that are passed on and not held; used instead of `body`, never with it. No more
        is read from the client than is asked for here. It raises as `body` does, with another
        bound on the size (`gateway.limits.stream_bytes`) and on the time: every 64 KiB must
        arrive within `gateway.limits.body_timeout` of waiting here.
        """
        ...

    def start(self, status: int, headers: Headers, *, length: int | None = None) -> None:
        """Set status and headers; they leave with the first `write` or `finish`, in one send.

        The server adds framing (Content-Length when `length` is known, else chunked for HTTP/1.1)
        and Date; `headers` carry none of Content-Length, Transfer-Encoding, Connection.
        """
        ...

    def write(self, chunk: bytes) -> bool:
        """Send a part of the body; buffered by the transport.

        Returns
        -------
        bool
            False when the client reads too slowly. Nothing is lost, but stop until
            `when_writable` or `drain` says go on. True also when the client is gone.
        """
        ...

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once when more may be written or the client is gone; at once if it may now."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken enough that more may be written."""
        ...

    def finish(self, chunk: bytes = b"") -> None:
        """Send the last part and end the answer."""
        ...

    def abort(self) -> None:
        """Cut the connection: the answer started but cannot be completed honestly."""
        ...

    def switch(self, headers: Headers) -> Duplex:
        """Answer 101 and hand over the connection, which then speaks the protocol of `upgrade`.

        The server adds Connection, Upgrade and Date. From here on the loss of the connection does
        not cancel the handler: it is the end of what `Duplex.read` returns. The connection is
        closed when the handler returns.

        Raises
        ------
        RuntimeError
            There was no sound upgrade request, or the answer was started already.
        """
        ...


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange. It must call `start` and `finish`, or `abort`, or `switch`."""
