"""What has arrived on a connection ahead of its turn, and the brake on the socket."""

import asyncio

from gateway.server_state import AHEAD_BYTES


class Intake:
    """Holds a bounded number of unread bytes: beyond 64 KiB the socket is read no more.

    Attributes
    ----------
    transport : asyncio.Transport
    ended : bool
        The client sends no more: the transport must not be told to read.
    lost : bool
        The connection is gone: the transport must not be touched.
    """

    __slots__ = ("_held", "_paused", "ended", "lost", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.ended = False
        self.lost = False
        self._held: bytearray | None = None
        self._paused = False

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._held) if self._held else 0

    def hold(self, data: bytes | memoryview) -> None:
        """Keep bytes until `take`."""
        if self._held is None:
            self._held = bytearray()
        self._held += data
        if len(self._held) > AHEAD_BYTES:
            self.pause()

    def take(self) -> bytes:
        """Return what is held, b"" for nothing."""
        held, self._held = self._held, None
        return bytes(held) if held else b""

    def close(self) -> None:
        """Note that the connection is gone."""
        self.lost = True
        self._held = None

    def pause(self) -> None:
        """Read no more from the socket."""
        if not (self._paused or self.lost or self.ended):
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.lost:
            self._paused = False
            if not self.ended:
                self.transport.resume_reading()
