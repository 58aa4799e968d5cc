"""Moves a stream from an upstream's transport to a client's, with no task switch for a chunk."""

import asyncio
from typing import Protocol

from gateway.exchange import Exchange
from router.clock import Clock
from router.deadline import Deadline
from router.errors import Reason, UpstreamFault
from router.upstream import UpstreamResponse


class StreamTap(Protocol):
    """What the pump asks of a tap."""

    done: bool
    content_events: int

    def feed(self, chunk: bytes) -> bool:
        """Read a chunk; raises `UpstreamFault` when it is not what it should be."""
        ...

    def take(self) -> bytes:
        """Return what the client may see now."""
        ...

    def end(self) -> None:
        """Judge the complete answer."""
        ...


class SlowClientError(Exception):
    """The total time is used up, and it was the client that made the stream wait."""


class StreamPump:
    """One stream from its commit point on; `run` it once.

    The last bytes (of the event that ends the stream, or of a body of known length) stay in
    `last`: they may leave only when the record is written.

    Parameters
    ----------
    exchange : Exchange
        Started; not finished here.
    idle_s, deadline_s : float
        Longest time without content; `Clock.monotonic` value at which all must be over. The time
        in which the client takes nothing is not the upstream's.
    keep_bytes : int
        Of what was sent, kept for the cache.

    Attributes
    ----------
    sent : list of bytes
        What went to the client, a bit more than `keep_bytes` at most.
    paused_s : float
        Time spent waiting for the client.
    """

    __slots__ = (
        "_clock",
        "_content_s",
        "_deadline_s",
        "_events",
        "_exchange",
        "_idle_s",
        "_keep_bytes",
        "_left_bytes",
        "_loop",
        "_paused_at_s",
        "_response",
        "_started_s",
        "_tap",
        "_timer",
        "last",
        "paused_s",
        "sent",
    )

    def __init__(
        self,
        exchange: Exchange,
        tap: StreamTap,
        clock: Clock,
        *,
        idle_s: float,
        deadline_s: float,
        keep_bytes: int,
    ) -> None:
        self._exchange = exchange
        self._tap = tap
        self._clock = clock
        self._idle_s = idle_s
        self._deadline_s = deadline_s
        self._keep_bytes = keep_bytes
        self._left_bytes: int | None = None
        self._events = tap.content_events
        self._started_s = self._content_s = clock.monotonic()
        self._paused_at_s: float | None = None
        self.paused_s = 0.0
        self.last = b""
        self.sent: list[bytes] = []

    async def run(self, response: UpstreamResponse | None, *, length: int | None) -> None:
        """Move chunks until the answer ends well.

        Parameters
        ----------
        response : UpstreamResponse or None
            None when the tap has the whole answer.
        length : int or None
            Of the body, if it is known.

        Raises
        ------
        UpstreamFault
            The stream broke, was none, or stalled (UPSTREAM_TIMEOUT).
        SlowClientError
        """
        tap = self._tap
        self._left_bytes = length
        if tap.done or response is None:
            self.last = tap.take()
            return
        self._response = response
        self._loop = asyncio.get_running_loop()
        if not self._hand_on():
            await self._wait_for_client()
        # Never called from here, as only a pump that runs can be stopped.
        now_s = self._clock.monotonic()
        self._timer = self._loop.call_later(max(0.0, self._due_s(now_s) - now_s), self._watch)
        try:
            await response.pump(self._take)
        finally:
            self._timer.cancel()
            self._unpause()
        if not tap.done:
            tap.end()
            self.last += tap.take()

    def _take(self, chunk: bytes) -> bool:
        """Judge a chunk and pass it on; called by the upstream's transport."""
        tap = self._tap
        tap.feed(chunk)
        if tap.content_events != self._events:
            self._events = tap.content_events
            self._content_s = self._clock.monotonic()
        if tap.done:
            self.last = tap.take()
            self._response.stop()
            return True
        if self._hand_on():
            return True
        self._pause()
        return False

    def _hand_on(self) -> bool:
        """Write what may be seen now; False when the client must take some of it first."""
        ready = self._tap.take()
        if not ready:
            return True
        if self._left_bytes is not None:
            self._left_bytes -= len(ready)
            if self._left_bytes <= 0:
                self.last = ready
                return True
        if self._keep_bytes >= 0:
            self._keep_bytes -= len(ready)
            self.sent.append(ready)
        return self._exchange.write(ready)

    def _pause(self) -> None:
        self._paused_at_s = self._clock.monotonic()
        self._exchange.when_writable(self._go_on)

    def _go_on(self) -> None:
        self._unpause()
        self._response.resume()

    def _unpause(self) -> None:
        if self._paused_at_s is not None:
            now_s = self._clock.monotonic()
            self.paused_s += now_s - self._paused_at_s
            self._paused_at_s = None
            self._content_s = now_s

    async def _wait_for_client(self) -> None:
        """Wait until what was held up to the commit point has been taken."""
        self._paused_at_s = now_s = self._clock.monotonic()
        try:
            with Deadline(self._loop, self._deadline_s - now_s):
                await self._exchange.drain()
        except TimeoutError as error:
            raise SlowClientError from error
        finally:
            self._unpause()

    def _due_s(self, now_s: float) -> float:
        idle_at_s = now_s if self._paused_at_s is not None else self._content_s
        return min(idle_at_s + self._idle_s, self._deadline_s)

    def _watch(self) -> None:
        """Look again when the stream would be late, one timer for many chunks."""
        now_s = self._clock.monotonic()
        due_s = self._due_s(now_s)
        if now_s < due_s:
            self._timer = self._loop.call_later(due_s - now_s, self._watch)
        elif now_s < self._deadline_s:
            self._stall("no content in time")
        elif self._paused_at_s is not None or 2 * self.paused_s > now_s - self._started_s:
            self._response.stop(SlowClientError())
        else:
            self._stall("the total time is used up")

    def _stall(self, what: str) -> None:
        fault = UpstreamFault(f"the stream stalled: {what}", reason=Reason.UPSTREAM_TIMEOUT)
        self._response.stop(fault)
