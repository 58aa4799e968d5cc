"""Back-pressure of one connection's writes."""

import asyncio
from collections.abc import Callable
from functools import partial


def wake(waiter: asyncio.Future[None]) -> None:
    """Let somebody go on, unless it was cancelled meanwhile."""
    if not waiter.done():
        waiter.set_result(None)


class WriteGate:
    """Shut while the client has more unsent bytes than it should.

    Attributes
    ----------
    shut : bool
        True between the transport's `pause_writing` and `resume_writing`.
    """

    __slots__ = ("_callbacks", "_moved_s", "_unsent_bytes", "shut")

    def __init__(self) -> None:
        self.shut = False
        self._callbacks: list[Callable[[], None]] = []
        self._unsent_bytes = 0
        self._moved_s = 0.0

    async def wait(self) -> None:
        """Wait until the gate is open."""
        if self.shut:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._callbacks.append(partial(wake, waiter))
            await waiter

    def when_open(self, callback: Callable[[], None]) -> None:
        """Call back once when the gate opens; at once if it is open."""
        if self.shut:
            self._callbacks.append(callback)
        else:
            callback()

    def open(self) -> None:
        """Let everybody go on; also when the connection is lost, as nothing is sent then."""
        self.shut = False
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def stalled_s(self, unsent_bytes: int, now_s: float) -> float:
        """Return for how long the client has taken nothing, as seen by regular calls."""
        if unsent_bytes != self._unsent_bytes or unsent_bytes == 0:
            self._unsent_bytes = unsent_bytes
            self._moved_s = now_s
        return now_s - self._moved_s
