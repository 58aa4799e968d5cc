"""A connection that has switched protocols: bytes both ways, with bounds."""

import asyncio

from gateway.intake import Intake
from gateway.server_state import LINGER_S, Shared
from gateway.write_gate import WriteGate, wake


class Tunnel(asyncio.Protocol):
    """Implements `router.upstream.Duplex` on a transport taken over from a `Connection`.

    Back-pressure goes both ways: little more than 64 KiB are held unread, and `drain` waits for a
    client that reads slowly. A client that takes nothing for `gateway.limits.body_timeout`, and
    silence of both sides for `gateway.limits.tunnel_idle`, end it.

    Parameters
    ----------
    shared : Shared
    intake, gate
        Both directions of the connection, with what they hold.
    party : str
        Whom the connection counts for.
    """

    __slots__ = (
        "_closing",
        "_gate",
        "_intake",
        "_moved",
        "_shared",
        "_transport",
        "_waiter",
        "deadline_s",
        "party",
    )

    def __init__(self, shared: Shared, intake: Intake, gate: WriteGate, party: str) -> None:
        self._shared = shared
        self._intake = intake
        self._transport = intake.transport
        self._gate = gate
        self.party = party
        self._waiter: asyncio.Future[None] | None = None
        self._closing = False
        self._moved = False
        self.deadline_s = shared.clock.monotonic() + shared.limits.tunnel_idle

    @property
    def task(self) -> None:
        """None: the handler is left to itself."""

    # Called by whoever relays.

    async def read(self) -> bytes:
        """Return what has arrived, b"" when the client sends no more or is gone."""
        intake = self._intake
        while not (len(intake) or self._over):
            intake.resume()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = intake.take()
        intake.resume()
        return data

    def write(self, data: bytes) -> None:
        """Send bytes; dropped when the client is gone."""
        self._moved = True
        if not self._closing and not self._intake.lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough that more may be written, or is gone."""
        await self._gate.wait()

    def close(self) -> None:
        """Close after what was written."""
        if not self._closing and not self._intake.lost:
            self._closing = True
            self._wake()
            self.deadline_s = self._shared.clock.monotonic() + LINGER_S
            self._transport.close()

    def abort(self) -> None:
        """Cut at once, with what was not sent yet."""
        self._closing = True
        self._wake()
        if not self._intake.lost:
            self._transport.abort()

    # Called by the server.

    drop = abort

    def check(self, now_s: float, *, crowded: bool) -> None:  # noqa: ARG002 - it is not idle
        """Cut a client that takes nothing, and a tunnel in which nothing moves."""
        if self._moved:
            self._moved = False
            if not self._closing:
                self.deadline_s = now_s + self._shared.limits.tunnel_idle
        if self._gate.shut or self._closing:
            unsent = self._transport.get_write_buffer_size()
            if self._gate.stalled_s(unsent, now_s) > self._shared.limits.body_timeout:
                self.abort()
            if unsent:
                return
        if now_s >= self.deadline_s:
            self.abort()

    def retire(self, now_s: float, *, grace_s: float) -> None:
        """Go on: a tunnel is a request that runs."""

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        """Hold what has arrived until it is read."""
        if not self._closing:
            self._moved = True
            self._intake.hold(data)
            self._wake()

    def eof_received(self) -> bool:
        """Let `read` end; the other direction goes on."""
        self._intake.ended = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """Let both directions end."""
        self._intake.lost = True
        self._wake()
        self._gate.open()
        self._shared.leave(self)

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._gate.shut = True

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._gate.open()

    @property
    def _over(self) -> bool:
        return self._closing or self._intake.ended or self._intake.lost

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wake(waiter)
