"""The seam between routing and whatever answers: a small client protocol, HTTP/1.1 shaped."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = list[tuple[bytes, bytes]]
"""Names as received, order and duplicates kept; compare names in lower case."""


class BodySource(Protocol):
    """A request body that is not held: it can be read once, so it is never sent twice."""

    length: int | None
    """Bytes in all, or None when nobody knows: it is sent chunked."""

    async def read(self) -> bytes:
        """Return the next part, b"" at the end. What it raises ends the request."""
        ...


class Duplex(Protocol):
    """Both directions of a connection that has been upgraded to another protocol."""

    async def read(self) -> bytes:
        """Return what has arrived, b"" at the peer's end."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens once the connection is closed."""
        ...

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        ...

    def close(self) -> None:
        """Send what was written, then end. Idempotent."""
        ...

    def abort(self) -> None:
        """Cut at once. Idempotent."""
        ...


@dataclass(slots=True, eq=False)
class UpstreamRequest:
    """One request, ready to be sent. Nobody changes it after it was made.

    Attributes
    ----------
    method : bytes
        Such as ``b"POST"``.
    target : bytes
        Path and query *below* the upstream's base URL, starting with a slash:
        ``b"/chat/completions"`` for base ``https://host/v1``.
    headers : list of (bytes, bytes)
        Without Host, Content-Length and hop-by-hop fields: the transport writes those.
    body : bytes or BodySource
    upgrade : bytes
        The protocol to change to, such as ``b"websocket"``; the transport writes Upgrade and
        Connection. Empty: none.
    expect_continue : bool
        Ask before sending a `BodySource` (``Expect: 100-continue``): the source is not read before
        the upstream said yes, or said nothing for a while.
    root : bool
        The target lies beside the upstream's API instead of below it: a `/v1` at the end of the
        base URL is left out.
    """

    method: bytes
    target: bytes
    headers: Headers = field(default_factory=list)
    body: bytes | BodySource = b""
    upgrade: bytes = b""
    expect_continue: bool = False
    root: bool = False


class UpstreamResponse(Protocol):
    """An answer whose head has arrived."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """Return the next bytes of the body as they arrive, b"" at its end.

        Raises
        ------
        UpstreamFault
            The connection broke or the framing is wrong; `reason` is UPSTREAM_UNREACHABLE for
            a cut, UPSTREAM_INVALID for bad framing.
        """
        ...

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Hand what is buffered, then every chunk as it arrives, to a sink until the body ends.

        The sink is called from inside the transport's callback: no task is switched to for a
        chunk. One pump at a time, and no `read` beside it.

        Parameters
        ----------
        sink : callable
            Takes a chunk, never empty. False asks for a pause: nothing more comes until
            `resume`, and the upstream is slowed down once 256 KiB wait.

        Raises
        ------
        UpstreamFault
            As `read`, after what arrived before was handed over.
        BaseException
            What the sink raised; it is not called again.
        """
        ...

    def resume(self) -> None:
        """Go on after a sink asked for a pause. Never calls the sink itself."""
        ...

    def stop(self, fault: BaseException | None = None) -> None:
        """End a running pump, from a timer or from inside its sink, which is not called again.

        `pump` returns, or raises `fault`. Nothing happens when no pump is running.
        """
        ...

    def tunnel(self) -> Duplex:
        """Return both directions of the connection, after status 101 only; call it once.

        Bytes that came with the head are the first to be read. The tunnel ends with `release`:
        what was written before `Duplex.close` is still sent then.

        Raises
        ------
        UpstreamFault
            The answer did not change the protocol.
        """
        ...

    def release(self) -> None:
        """Give the connection back to the pool if the body was read to its end, else close it.

        Idempotent, never raises, never awaits: it also runs while a task is being cancelled.
        """
        ...


class UpstreamStatistics(NamedTuple):
    """A moment of one upstream's pool.

    Attributes
    ----------
    in_use : int
        Connections carrying a request.
    idle : int
        Connections kept alive for the next request.
    waiting : int
        Requests waiting for a free connection.
    """

    in_use: int
    idle: int
    waiting: int


class Upstream(Protocol):
    """A model server behind a name. Implementations own their connections."""

    name: str

    async def send(self, request: UpstreamRequest, *, connect_timeout_s: float) -> UpstreamResponse:
        """Send a request and return when the head of the answer has arrived.

        `connect_timeout_s` bounds DNS + TCP + TLS (and waiting for a free connection); the
        caller bounds everything after that by cancelling. A cancelled call closes its connection:
        it never returns to the pool. A `BodySource` is read by another task, which may go on
        while the answer is read; it stops for an answer that refuses, and with `release`.

        Raises
        ------
        UpstreamFault
        BaseException
            What a `BodySource` raised, here or while the answer is read.
        """
        ...

    def statistics(self) -> UpstreamStatistics:
        """Return the pool's numbers."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
