"""A client's connection as bytes: both flows, their bounds, and how it is closed."""

import asyncio
import math
from typing import cast

from gateway.client_counts import client_of
from gateway.intake import Intake
from gateway.peer import peer_address
from gateway.response_head import Refusal
from gateway.server_state import LINGER_S, WRITE_HIGH_BYTES, Shared
from gateway.write_gate import WriteGate


class ClientLine(asyncio.Protocol):
    """The transport under `gateway.connection.Connection`; nothing here knows of requests.

    Attributes
    ----------
    client, party : str
        The peer's address, and whom the connection counts for.
    deadline_s : float
        `Clock.monotonic` value at which the sweep acts.
    intake, gate
        What arrived ahead of its turn, and the brake on what is sent.
    """

    __slots__ = (
        "_closing",
        "_lost",
        "_shared",
        "_transport",
        "client",
        "clock",
        "deadline_s",
        "gate",
        "heads",
        "intake",
        "limits",
        "party",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.heads = shared.heads
        self.limits = shared.limits
        self.clock = shared.clock
        self.client = self.party = ""
        self.deadline_s = math.inf
        self._transport = cast("asyncio.Transport", None)
        self.intake = cast("Intake", None)
        self.gate = WriteGate()
        self._closing = False
        self._lost = False

    @property
    def closing(self) -> bool:
        """True when no further request will be read."""
        return self._shared.draining

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and learn whose it is."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.intake = Intake(self._transport)
        self.client = peer_address(transport)
        self.party = client_of(self.client)

    def pause_writing(self) -> None:
        """Let `drain` wait: the client reads too slowly."""
        self.gate.shut = True

    # Called by exchanges.

    def send(self, data: bytes) -> bool:
        """Write to the client, dropped when it is gone; False when it reads too slowly."""
        if self._lost:
            return True
        self._transport.write(data)
        return not self.gate.shut

    def want_body(self, wait_s: float) -> None:
        """Read on; the sweep ends the wait."""
        self.deadline_s = self.clock.monotonic() + wait_s
        self.intake.resume()

    # Called by the server.

    def drop(self) -> None:
        """Cut the connection; its loss cancels the handler."""
        if not self._lost:
            self._closing = True
            self._transport.abort()

    # Closing.

    def _stuck(self, now_s: float) -> bool:
        """Drop a client that takes nothing; say whether something must still be taken."""
        unsent = self._transport.get_write_buffer_size()
        if self.gate.stalled_s(unsent, now_s) > self.limits.body_timeout:
            self.drop()
        if unsent and self._closing:
            self.deadline_s = now_s + LINGER_S
        return unsent > 0

    def _refuse(self, refusal: Refusal) -> None:
        """Answer bytes that never became a request, and close."""
        self._shared.refused_total += 1
        body = self._shared.server_error("", refusal)
        self._transport.write(self.heads.refusal(refusal.status, body))
        self._close(unread=True)

    def _close(self, *, unread: bool) -> None:
        """Flush and close; `unread` input would reset the connection before the answer is read.

        So the output is ended first and input dropped for a while (RFC 9112, section 9.6).
        """
        self._closing = True
        self.intake.take()
        self.deadline_s = self.clock.monotonic() + LINGER_S
        if unread and not self.intake.ended:
            self.intake.resume()
            self._transport.write_eof()
        else:
            self._transport.close()
