"""What routing hands back, and the seam through which the gateway judges an answer."""

from typing import Protocol

import msgspec

from router.config import UpstreamConfig
from router.errors import Reason
from router.upstream import Headers, UpstreamRequest


class AttemptResult(msgspec.Struct):
    """One try: what the record's `attempts` row says. Times are `Clock` values."""

    attempt_no: int
    upstream: str
    started_at: int
    started_s: float
    ended_s: float | None = None
    status: int | None = None
    reason: Reason | None = None
    ttft_s: float | None = None


class Outcome(msgspec.Struct):
    """What happened to one request: made by the caller, filled while it is routed.

    It is the caller's, so that the attempts are there for the record also when the client has
    gone and the request was cancelled.

    Attributes
    ----------
    attempts : list of AttemptResult
        In the order of their start; one whose `ended_s` is None is still under way.
    upstream_s : float
        Seconds spent in attempts, and waiting between them, so far.
    """

    attempts: list[AttemptResult] = []
    upstream_s: float = 0.0


class Tap(Protocol):
    """Reads one upstream's answer beside the relay; knows the wire protocol, changes no byte.

    The router calls `head` once, then `feed` for every chunk until it returns True (the commit
    point: the first content-bearing event of a stream, or never for a plain answer), then
    `end` when the body is complete. All three raise `UpstreamFault` when the answer is not one.
    """

    stream: bool
    """True when the answer is relayed while it arrives; False when it is held until complete."""

    content_events: int
    """Content-bearing events so far: what the idle timer counts."""

    def head(self, status: int, headers: Headers) -> None:
        """Judge status and headers. A 4xx that is the caller's fault passes (`is_client_error`)."""
        ...

    def feed(self, chunk: bytes) -> bool:
        """Read a chunk; True once something worth showing to the client has arrived."""
        ...

    def end(self) -> None:
        """Judge the complete answer."""
        ...

    @property
    def is_client_error(self) -> bool:
        """True when the upstream refused the request itself (4xx): passed on, never retried."""
        ...


class Call(Protocol):
    """One client request as the router sees it: built anew for each upstream that is tried."""

    @property
    def repeatable(self) -> bool:
        """False when it must not reach an upstream twice, or its body cannot be sent again."""
        ...

    def suits(self, upstream: UpstreamConfig) -> bool:
        """Say whether an upstream speaks what is asked; one that does not is passed over."""
        ...

    def request_for(self, upstream: UpstreamConfig) -> UpstreamRequest:
        """Return the request as this upstream wants it (model name, credentials)."""
        ...

    def new_tap(self, upstream: UpstreamConfig) -> Tap:
        """Return a fresh tap for an attempt at this upstream."""
        ...
