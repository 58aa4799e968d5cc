"""How late the event loop is: what every callback of a worker waits before it runs."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from router.clock import Clock

TICK_S = 0.1


class Lateness(NamedTuple):
    """Of the ticks of a period, in seconds; 0 without any."""

    longest_s: float
    mean_s: float


class LoopLag:
    """A timer ten times a second that measures how much too late it runs.

    Attributes
    ----------
    standing_s : float
        The smaller of the last two ticks' lateness: a single stall is over when it is noticed,
        a loop with more work than it can do is late again and again (the reasoning of CoDel,
        RFC 8289, section 3).
    on_tick : callable, optional
        Called after each tick.
    """

    __slots__ = (
        "_clock",
        "_due_s",
        "_last_s",
        "_longest_s",
        "_loop",
        "_sum_s",
        "_ticks",
        "_timer",
        "on_tick",
        "standing_s",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._last_s = 0.0
        self._longest_s = 0.0
        self._sum_s = 0.0
        self._ticks = 0
        self.standing_s = 0.0
        self.on_tick: Callable[[], None] | None = None

    def start(self) -> None:
        """Measure the running loop from now on; again is harmless."""
        if self._timer is None:
            self._loop = asyncio.get_running_loop()
            self._schedule()

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def observe(self, late_s: float) -> None:
        """Take the lateness of one tick."""
        self.standing_s = min(self._last_s, late_s)
        self._last_s = late_s
        self._longest_s = max(self._longest_s, late_s)
        self._sum_s += late_s
        self._ticks += 1
        if self.on_tick is not None:
            self.on_tick()

    def take(self) -> Lateness:
        """Return the lateness since the last call, and begin a new period.

        A tick that is overdue counts with what it is late by now.
        """
        overdue_s = self._clock.monotonic() - self._due_s if self._timer is not None else 0.0
        mean_s = self._sum_s / self._ticks if self._ticks else 0.0
        found = Lateness(max(self._longest_s, overdue_s), mean_s)
        self._longest_s = self._sum_s = 0.0
        self._ticks = 0
        return found

    def _schedule(self) -> None:
        assert self._loop is not None
        self._due_s = self._clock.monotonic() + TICK_S
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self.observe(max(0.0, self._clock.monotonic() - self._due_s))
        self._schedule()
