"""Time as a parameter."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where code that needs the time gets it; tests pass their own."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations and deadlines."""
        ...

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC, for records."""
        ...


class SystemClock:
    """The machine's clock."""

    # Asked a dozen times a request, so without a frame of its own.
    monotonic = staticmethod(time.monotonic)

    def now_us(self) -> int:
        """Microseconds of `time.time_ns`."""
        return time.time_ns() // 1000
