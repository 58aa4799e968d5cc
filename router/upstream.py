"""The seam between routing and whatever answers: a small client protocol, HTTP/1.1 shaped."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = list[tuple[bytes, bytes]]
"""Names as received, order and duplicates kept; compare names in lower case."""


@dataclass(slots=True, frozen=True)
class UpstreamRequest:
    """One request, ready to be sent.

    Attributes
    ----------
    method : bytes
        Such as ``b"POST"``.
    target : bytes
        Path and query *below* the upstream's base URL, starting with a slash:
        ``b"/chat/completions"`` for base ``https://host/v1``.
    headers : list of (bytes, bytes)
        Without Host, Content-Length and hop-by-hop fields: the transport writes those.
    body : bytes
    """

    method: bytes
    target: bytes
    headers: Headers = field(default_factory=list)
    body: bytes = b""


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
        it never returns to the pool.

        Raises
        ------
        UpstreamFault
        """
        ...

    def statistics(self) -> UpstreamStatistics:
        """Return the pool's numbers."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
