"""Back-pressure of one connection's writes."""

import asyncio


class WriteGate:
    """Shut while the client has more unsent bytes than it should.

    Attributes
    ----------
    shut : bool
        True between the transport's `pause_writing` and `resume_writing`.
    """

    __slots__ = ("_moved_s", "_unsent_bytes", "_waiters", "shut")

    def __init__(self) -> None:
        self.shut = False
        self._waiters: list[asyncio.Future[None]] = []
        self._unsent_bytes = 0
        self._moved_s = 0.0

    async def wait(self) -> None:
        """Wait until the gate is open."""
        if self.shut:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def open(self) -> None:
        """Let everybody go on; also when the connection is lost, as nothing is sent then."""
        self.shut = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def stalled_s(self, unsent_bytes: int, now_s: float) -> float:
        """Return for how long the client has taken nothing, as seen by regular calls."""
        if unsent_bytes != self._unsent_bytes or unsent_bytes == 0:
            self._unsent_bytes = unsent_bytes
            self._moved_s = now_s
        return now_s - self._moved_s
