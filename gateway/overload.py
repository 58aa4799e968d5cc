"""When this worker is full: requests wait for others to end, in a bounded queue, or are refused.

Two things fill a worker. Requests that take long: `limits.in_flight` of them are answered at once,
`limits.queue` wait behind them for `limits.queue_wait` at most. Requests that come faster than the
processor can take them: then the event loop runs late. From `limits.loop_lag` on, fewer are let in
at once, a fifth fewer each tick of the measurement, and more again when the loop is in time
(additive increase, multiplicative decrease, as TCP and Netflix's concurrency-limits do). A few are
enough to keep a processor busy, and cost it less than many: their memory stays in its caches.

Who cannot be let in waits, which costs little; a refusal costs two thirds of an answer. Clients
that repeat at once would be refused thousands of times a second and leave no time for answers. With
room in the queue for as many as there may be connections, each is refused once a `queue_wait`.
"""

from typing import NamedTuple

from gateway.config import LimitsConfig
from gateway.errors import Overloaded
from gateway.loop_lag import LoopLag
from router.clock import Clock
from router.concurrency import Gate

MIN_LIMIT = 64
"""However late the loop, so many may be inside: enough to keep a processor busy."""

_DECREASE = 0.8
_INCREASE = 0.1


class OverloadStatistics(NamedTuple):
    """A moment of a worker's gate.

    Attributes
    ----------
    inside, waiting : int
        Requests being answered; requests waiting for one of those to end.
    refused : int
        So far.
    limit : int
        How many may be inside now; below `limits.in_flight` while the loop runs late.
    """

    inside: int
    waiting: int
    refused: int
    limit: int


class OverloadGate:
    """Admits requests to one worker.

    `try_enter`, else `await wait()`; after either has let a request in, `leave` once.

    Parameters
    ----------
    limits : LimitsConfig
    clock : Clock
    lag : LoopLag
        Started by whoever owns the loop.
    """

    __slots__ = ("_gate", "_limit", "_limits", "lag")

    def __init__(self, limits: LimitsConfig, clock: Clock, lag: LoopLag) -> None:
        self.lag = lag
        self._gate = Gate(clock, limit=limits.in_flight, max_queue=limits.queue, patient=True)
        self._limits = limits
        self._limit = limits.in_flight
        lag.on_tick = self._adapt

    def reconfigure(self, limits: LimitsConfig) -> None:
        """Take the limits of another configuration; who is inside or waiting stays."""
        self._limits = limits
        self._limit = limits.in_flight
        self._gate.resize(limit=limits.in_flight, max_queue=limits.queue)

    def try_enter(self) -> bool:
        """Let a request in at once, if there is room."""
        return self._gate.try_enter()

    async def wait(self) -> None:
        """Let a request in that `try_enter` did not, once there is room.

        Raises
        ------
        Overloaded
            The queue is full, or no room came in time.
        """
        if not await self._gate.wait(self._limits.queue_wait):
            raise Overloaded(
                "This worker is full: it has as many requests as `gateway.limits.in_flight` and"
                " `gateway.limits.queue` allow; try again later."
            )

    def leave(self) -> None:
        """End a request that was let in."""
        self._gate.leave()

    def statistics(self) -> OverloadStatistics:
        """Return the numbers of this moment."""
        now = self._gate.statistics()
        return OverloadStatistics(now.inside, now.waiting, now.refused, self._limit)

    def _adapt(self) -> None:
        """Let fewer in while the loop is late, more when it is in time."""
        before, most = self._limit, self._limits.in_flight
        if self.lag.standing_s > self._limits.loop_lag:
            # Of those inside, not of the limit: who stays long, as a stream does, must not make
            # the limit fall to where nobody else can come in for as long.
            inside = self._gate.statistics().inside
            self._limit = min(before, max(MIN_LIMIT, int(inside * _DECREASE)))
        elif before < most:
            self._limit = min(most, before + max(1, int(before * _INCREASE)))
        if self._limit != before:
            self._gate.resize(limit=self._limit, max_queue=self._limits.queue)
