"""A pump for answers that can only be read: one task switch a chunk, for off the hot path."""

import asyncio
from collections.abc import Awaitable, Callable

Read = Callable[[], Awaitable[bytes]]
Sink = Callable[[bytes], bool]


class ReadPump:
    """Implements `pump`, `resume` and `stop` of `router.upstream.UpstreamResponse` over `read`.

    Parameters
    ----------
    read : callable
        The answer's `read`; it is cancelled when the pump is stopped.
    """

    __slots__ = ("_bound", "_fault", "_held", "_read", "_stopped", "_waiter")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = False
        self._stopped = False
        self._fault: BaseException | None = None
        self._bound: asyncio.Timeout | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def pump(self, sink: Sink) -> None:
        """Hand every chunk to a sink until the body ends or `stop` is called."""
        self._stopped = False
        self._fault = None
        try:
            async with asyncio.timeout(None) as bound:
                self._bound = bound
                await self._move(sink)
        except TimeoutError:
            if not self._stopped:
                raise
        finally:
            self._bound = None
        if self._fault is not None:
            raise self._fault

    def resume(self) -> None:
        """Go on after a sink asked for a pause."""
        self._held = False
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def stop(self, fault: BaseException | None = None) -> None:
        """End a running pump."""
        if self._bound is not None and not self._stopped:
            self._stopped = True
            self._fault = fault
            # A deadline that has passed interrupts the read, in the loop's next turn.
            self._bound.reschedule(0.0)

    async def _move(self, sink: Sink) -> None:
        while not self._stopped and (chunk := await self._read()):
            if self._stopped:
                return
            self._held = True
            if sink(chunk):
                self._held = False
            elif self._held and not self._stopped:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
