"""The seam the rest of the gateway sees: one request in, one answer out.

A server (the protocol pair, or an ASGI adapter) makes an `Exchange` for every request whose head
has been read and awaits the handler with it. The handler task is cancelled when the client goes
away; everything it writes after that is dropped.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from router.upstream import Headers


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
        True once `start` was called: the status can no longer be changed.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    client: str
    started_s: float
    responded: bool

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

    def start(self, status: int, headers: Headers, *, length: int | None = None) -> None:
        """Set status and headers; they leave with the first `write` or `finish`, in one send.

        The server adds framing (Content-Length when `length` is known, else chunked for HTTP/1.1)
        and Date; `headers` carry none of Content-Length, Transfer-Encoding, Connection.
        """
        ...

    def write(self, chunk: bytes) -> None:
        """Send a part of the body; buffered by the transport."""
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


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange. It must call `start` and `finish`, or `abort`."""
