"""A connection's two flows: how each is slowed down, and how both end."""

import asyncio
from collections.abc import Iterable
from typing import cast


class Line(asyncio.Protocol):
    """The transport under a protocol; nothing here knows what the bytes mean.

    Parameters
    ----------
    loop : AbstractEventLoop
        The running one: in CPython 3.11 asking for it is a system call.

    Attributes
    ----------
    lost : bool
        True once the connection is closed.
    """

    __slots__ = ("_drainer", "_loop", "_paused", "_transport", "_write_paused", "lost")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lost = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._paused = False
        self._write_paused = False

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is closed."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write_lines(self, parts: Iterable[bytes]) -> None:
        """Send bytes, unless the connection is closed."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(parts)

    async def drain(self) -> None:
        """Wait while too much waits to be sent; for one task at a time."""
        while self._write_paused and not self.lost:
            self._drainer = self._loop.create_future()
            try:
                await self._drainer
            finally:
                self._drainer = None

    def abort(self) -> None:
        """Close at once, without flushing. Idempotent."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Read no more: the buffer is full."""
        transport = self._transport
        if transport is not None and not self._paused and not transport.is_closing():
            self._paused = True
            transport.pause_reading()

    def resume(self) -> None:
        """Read on if the buffer was full."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let `drain` return."""
        self._write_paused = False
        self._drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let `drain` return; what that means for an exchange is the subclass's to say."""
        super().connection_lost(exc)
        self.lost = True
        self._drained()

    def _drained(self) -> None:
        if self._drainer is not None and not self._drainer.done():
            self._drainer.set_result(None)
