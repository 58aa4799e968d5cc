"""An event loop whose time jumps to the next timer when nothing else is to be done."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs minutes of timers in milliseconds, always in the same order.

    Only for code that waits for timers and other tasks: sockets are never waited for.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits, and no timer will ever wake one")
        self._loop.now_s += max(0.0, timeout)
        return super().select(0)


class LoopClock:
    """A `Clock` that shows the running loop's time."""

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    def now_us(self) -> int:
        """Return the loop's time as microseconds since the epoch."""
        return 1_790_000_000_000_000 + int(self.monotonic() * 1e6)


class ManualClock:
    """A `Clock` that moves when it is told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        """Return the seconds that were set."""
        return self.now_s

    def now_us(self) -> int:
        """Return the same as microseconds since the epoch."""
        return 1_790_000_000_000_000 + int(self.now_s * 1e6)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
