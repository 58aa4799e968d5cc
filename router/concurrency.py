"""Admission by concurrency: so many at once, a bounded queue behind them, a bounded wait in it.

Whoever finds the queue longer than can be served within its wait is refused at once: it would have
waited in vain, and may go elsewhere meanwhile (Google, "Site Reliability Engineering", chapters 21
and 22: queues shorter than what can be served before the caller's deadline). A patient gate keeps
it all the same: for callers that can go nowhere else, a wait is what slows down those who ask again
at once, and refusing them costs nearly as much as serving them. The queue is served in order of
arrival, and the wait bounds what that costs anybody.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from router.clock import Clock
from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault

MIN_RETRY_AFTER_S = 1.0
MAX_RETRY_AFTER_S = 60.0
_MIN_SAMPLES = 8
"""Releases under load before their pace is believed."""


class GateStatistics(NamedTuple):
    """A moment of one gate.

    Attributes
    ----------
    limit : int
        How many may be inside.
    inside : int
        How many are.
    waiting : int
        How many wait for a place.
    refused : int
        Refused so far, at once or after waiting.
    pace_s : float or None
        Mean seconds between two places coming free while all are taken; None is unknown.
    """

    limit: int
    inside: int
    waiting: int
    refused: int
    pace_s: float | None


class Gate:
    """Lets at most `limit` in, keeps at most `max_queue` waiting, first come first served.

    `try_enter` and `leave` never wait; every entry, by `try_enter` or `wait`, needs one `leave`.

    Parameters
    ----------
    clock : Clock
        Measures the pace at which places come free.
    limit : int
        At least 1.
    max_queue : int
        0 keeps nobody waiting.
    patient : bool
        Keep also those waiting who, by the pace so far, would not be served in time.
    """

    __slots__ = (
        "_clock",
        "_full_since_s",
        "_inside",
        "_limit",
        "_max_queue",
        "_pace_s",
        "_patient",
        "_refused",
        "_samples",
        "_waiters",
    )

    def __init__(self, clock: Clock, *, limit: int, max_queue: int, patient: bool = False) -> None:
        self._clock = clock
        self._patient = patient
        self._limit = limit
        self._max_queue = max_queue
        self._inside = 0
        self._refused = 0
        self._waiters: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._full_since_s = 0.0  # when the last place was taken, or the last one came free since
        self._pace_s = 0.0
        self._samples = 0

    def try_enter(self) -> bool:
        """Take a free place, if there is one."""
        inside = self._inside + 1
        if inside < self._limit:
            self._inside = inside
            return True
        if inside > self._limit:
            return False
        self._inside = inside
        self._full_since_s = self._clock.monotonic()
        return True

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a place; False when there was none in time, or none can be expected."""
        if self.try_enter():
            return True
        if not self._is_worth_waiting(timeout_s):
            self._refused += 1
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_later(timeout_s, self._expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiters.pop(waiter, None)
            if not waiter.cancelled() and waiter.result():
                # Cancelled in the same turn in which it was handed the place.
                self.leave()
            raise
        finally:
            timer.cancel()

    def leave(self) -> None:
        """Give a place back: to who has waited longest, if somebody waits."""
        if self._inside >= self._limit:
            self._learn_pace()
        if self._inside <= self._limit and self._hand_on():
            return
        self._inside -= 1

    def resize(self, *, limit: int, max_queue: int) -> None:
        """Take other bounds; who is inside or waiting stays."""
        self._limit = limit
        self._max_queue = max_queue
        self._samples = 0
        while self._inside < limit and self._hand_on():
            self._inside += 1

    @property
    def retry_after_s(self) -> float:
        """Return when a new request may find a place: the queue's length in time, 1 s at least."""
        return min(MAX_RETRY_AFTER_S, max(MIN_RETRY_AFTER_S, self._expected_wait_s()))

    def statistics(self) -> GateStatistics:
        """Return the numbers of this moment."""
        pace_s = self._pace_s if self._is_pace_known() else None
        return GateStatistics(self._limit, self._inside, len(self._waiters), self._refused, pace_s)

    def _is_worth_waiting(self, timeout_s: float) -> bool:
        waiting = len(self._waiters)
        if waiting >= self._max_queue:
            return False
        # The first in the queue may always wait: a place that comes free finds a taker at once.
        return self._patient or not waiting or self._expected_wait_s() <= timeout_s

    def _expected_wait_s(self) -> float:
        return (len(self._waiters) + 1) * self._pace_s if self._is_pace_known() else 0.0

    def _is_pace_known(self) -> bool:
        return self._samples >= max(_MIN_SAMPLES, self._limit)

    def _learn_pace(self) -> None:
        """Average over the last two generations; those who entered together leave together."""
        now_s = self._clock.monotonic()
        passed_s, self._full_since_s = now_s - self._full_since_s, now_s
        self._samples += 1
        share = 1.0 / min(self._samples, max(_MIN_SAMPLES, 2 * self._limit))
        self._pace_s += (passed_s - self._pace_s) * share

    def _hand_on(self) -> bool:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(True)
                return True
        return False

    def _expire(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            del self._waiters[waiter]
            self._refused += 1
            waiter.set_result(False)


def upstream_gate(config: UpstreamConfig, clock: Clock) -> Gate:
    """Return the gate of an upstream: `max_concurrency` at once, else as many as connections.

    It keeps the upstream's one queue: behind it the connection pool always has a connection left.
    """
    limit = config.max_concurrency
    if limit is None or not config.http2:
        limit = min(limit or config.max_connections, config.max_connections)
    return Gate(clock, limit=limit, max_queue=config.max_queue)


async def wait_for_upstream(gate: Gate, config: UpstreamConfig, timeout_s: float) -> None:
    """Wait for a place at an upstream that is full.

    Raises
    ------
    UpstreamFault
        UPSTREAM_BUSY, with `retry_after_s`: no place came free in time, or none is to be expected.
        Nothing was sent.
    """
    if await gate.wait(timeout_s):
        return
    now = gate.statistics()
    raise UpstreamFault(
        f"upstream `{config.name}` is full: {now.inside} requests are under way and {now.waiting}"
        f" wait; `upstreams.{config.name}.max_concurrency`, `max_connections` and `max_queue`"
        " bound them",
        reason=Reason.UPSTREAM_BUSY,
        sent=False,
        retry_after_s=gate.retry_after_s,
    )
