"""An upstream in memory that does what its script says, and a call whose answers are simple text.

Wire: a stream's chunks are ``b"role"`` (nothing to show), ``b"text"`` (content), ``b"error"`` and
``b"stop"`` (ends well); a plain answer is right when its body is ``b"ok"``.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.outcome import Tap
from router.pumping import ReadPump
from router.upstream import (
    Duplex,
    Headers,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamStatistics,
)

Part = bytes | float | UpstreamFault
"""A chunk of the body, a pause in seconds, or how the body breaks."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one request meets: a fault on sending, or an answer after a pause."""

    parts: tuple[Part, ...] = ()
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/plain"),)
    pause_s: float = 0.0
    fault: UpstreamFault | None = None


OK = Step((b"ok",))
STREAM = Step((b"role", b"text", b"text", b"stop"))


def refused() -> Step:
    """Return a connect-phase error."""
    return Step(
        fault=UpstreamFault(
            "connection refused",
            reason=Reason.UPSTREAM_UNREACHABLE,
            sent=False,
            connect_phase=True,
        )
    )


def reset() -> Step:
    """Return a connection that goes away without a byte of an answer."""
    return Step(fault=UpstreamFault("connection reset", reason=Reason.UPSTREAM_UNREACHABLE))


def status(code: int, *, retry_after: float | None = None) -> Step:
    """Return an answer with an error status."""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/plain"),)
    if retry_after is not None:
        headers = (*headers, (b"retry-after", str(retry_after).encode()))
    return Step((b"no",), code, headers)


class ScriptedResponse:
    """The body of one step."""

    def __init__(self, upstream: "ScriptedUpstream", step: Step) -> None:
        self.status = step.status
        self.headers: Headers = list(step.headers)
        self._upstream = upstream
        self._parts = deque(step.parts)
        self._released = False
        self._pump = ReadPump(self.read)

    async def read(self) -> bytes:
        """Return the next chunk, after the pauses before it."""
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, UpstreamFault):
                raise part
            if isinstance(part, bytes):
                return part
            await asyncio.sleep(part)
        return b""

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Hand the chunks to a sink."""
        await self._pump.pump(sink)

    def resume(self) -> None:
        """Go on."""
        self._pump.resume()

    def stop(self, fault: BaseException | None = None) -> None:
        """End a pump."""
        self._pump.stop(fault)

    def tunnel(self) -> Duplex:
        """Refuse: a script has no connection to hand over."""
        raise UpstreamFault("no tunnel", reason=Reason.UPSTREAM_INVALID, status=self.status)

    def release(self) -> None:
        """Give the connection back."""
        if not self._released:
            self._released = True
            self._upstream.open -= 1


class ScriptedUpstream:
    """Plays its steps in turn, then `default` for ever.

    Attributes
    ----------
    calls : list of float
        Loop times at which requests came.
    connect_timeouts_s : list of float
        What they were given to connect.
    open : int
        Requests and answers that hold a connection now.
    """

    def __init__(self, name: str, steps: Iterable[Step] = (), default: Step = OK) -> None:
        self.name = name
        self.steps = deque(steps)
        self.default = default
        self.calls: list[float] = []
        self.connect_timeouts_s: list[float] = []
        self.open = 0

    async def send(self, request: UpstreamRequest, *, connect_timeout_s: float) -> UpstreamResponse:
        """Play the next step."""
        step = self.steps.popleft() if self.steps else self.default
        self.calls.append(asyncio.get_running_loop().time())
        self.connect_timeouts_s.append(connect_timeout_s)
        self.open += 1
        answered = False
        try:
            if step.pause_s:
                await asyncio.sleep(step.pause_s)
            if step.fault is not None:
                raise step.fault
            answered = True
        finally:
            if not answered:
                self.open -= 1
        return ScriptedResponse(self, step)

    def statistics(self) -> UpstreamStatistics:
        """Return the connections in use."""
        return UpstreamStatistics(self.open, 0, 0)

    async def aclose(self) -> None:
        """Close nothing: there are no connections."""


@dataclass(slots=True)
class TextTap:
    """Judges the module's wire."""

    stream: bool = False
    content_events: int = 0
    ended: bool = False
    _status: int = 0
    _body: list[bytes] = field(default_factory=list)

    def head(self, status: int, headers: Headers) -> None:
        """Pass 200 and the caller's errors."""
        self._status = status
        reason = _REASONS.get(status, Reason.UPSTREAM_ERROR if status >= 500 else None)
        if reason is not None:
            after = dict(headers).get(b"retry-after")
            raise UpstreamFault(
                f"status {status}",
                reason=reason,
                status=status,
                retry_after_s=None if after is None else float(after),
            )
        if dict(headers).get(b"content-type") != b"text/plain":
            raise UpstreamFault("wrong type", reason=Reason.UPSTREAM_INVALID, status=status)
        if self.is_client_error:
            self.stream = False

    def feed(self, chunk: bytes) -> bool:
        """Count content; an error or rubbish in a stream is a fault."""
        self._body.append(chunk)
        if not self.stream:
            return False
        if chunk == b"error":
            raise UpstreamFault("an error event", reason=Reason.UPSTREAM_ERROR, status=200)
        if chunk not in {b"role", b"text", b"stop"}:
            raise UpstreamFault("an event is rubbish", reason=Reason.UPSTREAM_INVALID, status=200)
        if chunk != b"role":
            self.content_events += 1
        self.ended = self.ended or chunk == b"stop"
        return self.content_events > 0

    def end(self) -> None:
        """Accept a stream that stopped, and a plain body that is right."""
        if self.stream and not self.ended:
            raise UpstreamFault("cut", reason=Reason.STREAM_INTERRUPTED, status=200)
        if not self.stream and not self.is_client_error and b"".join(self._body) != b"ok":
            raise UpstreamFault("not an answer", reason=Reason.UPSTREAM_INVALID, status=200)

    @property
    def is_client_error(self) -> bool:
        """Say whether the caller is at fault."""
        return 400 <= self._status < 500


_REASONS = {
    302: Reason.UPSTREAM_INVALID,
    401: Reason.UPSTREAM_AUTH,
    408: Reason.UPSTREAM_TIMEOUT,
    429: Reason.UPSTREAM_LIMITED,
}


@dataclass(slots=True)
class TextCall:
    """A client request."""

    stream: bool = False
    repeatable: bool = True
    unsuited: tuple[str, ...] = ()

    def suits(self, upstream: UpstreamConfig) -> bool:
        """Say whether an upstream is none of those named unsuited."""
        return upstream.name not in self.unsuited

    def request_for(self, upstream: UpstreamConfig) -> UpstreamRequest:
        """Return the request, the same for all."""
        return UpstreamRequest(b"POST", b"/chat/completions", [], b"{}")

    def new_tap(self, upstream: UpstreamConfig) -> Tap:
        """Return a tap of the module's wire."""
        return TextTap(stream=self.stream)
