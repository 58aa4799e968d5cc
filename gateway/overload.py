"""When this worker is full: requests wait for others to end, in a bounded queue, or are refused.

Two things fill a worker. Requests that take long: `limits.in_flight` of them are answered at once,
`limits.queue` wait behind them, and nobody queues for longer than `limits.queue_wait`; who would
not be served by then is refused on arrival. Requests that come faster than the processor can take
them: then the event loop runs late, and while it is late by `limits.loop_lag` new requests are
refused, which costs a fraction of answering them, so that those under way end in time.
"""

from typing import NamedTuple

from gateway.config import LimitsConfig
from gateway.errors import Overloaded
from gateway.loop_lag import LoopLag
from router.clock import Clock
from router.concurrency import Gate


class OverloadStatistics(NamedTuple):
    """A moment of a worker's gate.

    Attributes
    ----------
    inside, waiting : int
        Requests being answered; requests waiting for one of those to end.
    refused : int
        So far, for lack of room.
    late : int
        So far, because the event loop was late.
    """

    inside: int
    waiting: int
    refused: int
    late: int


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

    __slots__ = ("_gate", "_lag_limit_s", "_late", "_queue_wait_s", "lag")

    def __init__(self, limits: LimitsConfig, clock: Clock, lag: LoopLag) -> None:
        self.lag = lag
        self._gate = Gate(clock, limit=limits.in_flight, max_queue=limits.queue)
        self._queue_wait_s = limits.queue_wait
        self._lag_limit_s = limits.loop_lag
        self._late = 0

    def reconfigure(self, limits: LimitsConfig) -> None:
        """Take the limits of another configuration; who is inside or waiting stays."""
        self._gate.resize(limit=limits.in_flight, max_queue=limits.queue)
        self._queue_wait_s = limits.queue_wait
        self._lag_limit_s = limits.loop_lag

    def try_enter(self) -> bool:
        """Let a request in at once, if there is room and the loop is in time."""
        return self.lag.standing_s < self._lag_limit_s and self._gate.try_enter()

    async def wait(self) -> None:
        """Let a request in that `try_enter` did not, once there is room.

        Raises
        ------
        Overloaded
            The queue is full or too long, no room came in time, or the event loop is late.
        """
        if self.lag.standing_s >= self._lag_limit_s:
            self._late += 1
            raise Overloaded(
                f"This worker is overloaded: its event loop is {self.lag.standing_s:.2g} s late;"
                " try again later."
            )
        if not await self._gate.wait(self._queue_wait_s):
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
        return OverloadStatistics(now.inside, now.waiting, now.refused, self._late)
