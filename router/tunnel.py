"""Both directions of a connection that speaks HTTP no longer."""

import asyncio

from router.line import Line

FLUSH_TIMEOUT_S = 5.0  # a peer that takes nothing more is cut
TUNNEL_BYTES = 256 * 1024


class Tunnel:
    """Implements `router.upstream.Duplex` for one reader and one writer."""

    __slots__ = (
        "_buffered_bytes",
        "_chunks",
        "_ended",
        "_flush_timer",
        "_line",
        "_loop",
        "_waiter",
        "closing",
    )

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop, first: bytes) -> None:
        self.closing = False
        self._line = line
        self._loop = loop
        self._chunks: list[bytes] = [first] if first else []
        self._buffered_bytes = len(first)
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        """Return what has arrived, b"" once the connection is closed, by whomever."""
        while not (self._chunks or self._ended):
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        if not self._ended:
            self._line.resume()
        return data

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens once the connection is closed."""
        if not self.closing:
            self._line.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._line.drain()

    def close(self) -> None:
        """Send what was written, then end. Idempotent."""
        if not (self.closing or self._ended):
            self.closing = True
            self._flush_timer = self._loop.call_later(FLUSH_TIMEOUT_S, self._line.abort)
            self._line.close()

    def abort(self) -> None:
        """Cut at once. Idempotent."""
        self.closing = True
        self._line.abort()

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > TUNNEL_BYTES:
            self._line.pause()
        self._wake()

    def end(self) -> None:
        """Take note that the connection is closed."""
        self._ended = True
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
