"""What the connections of one server share, and the bounds they keep."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from gateway.client_counts import ClientCounts
from gateway.config import LimitsConfig
from gateway.exchange import Handler
from gateway.response_head import (
    TOO_MANY_CONNECTIONS,
    TOO_MANY_OF_CLIENT,
    Refusal,
    ResponseHeads,
    ServerError,
)
from router.clock import Clock

WRITE_HIGH_BYTES = 262_144
"""Unsent bytes of an answer above which `drain` waits."""

AHEAD_BYTES = 65_536
"""Bytes read of a body nobody asked for yet, or of requests that wait for their turn."""

LINGER_S = 2.0
"""How long a refused client may go on sending before the connection is cut."""

OVERFLOW_CONNECTIONS = 256
"""Connections beyond the limit that are told so; further ones are cut."""


OVERFLOW_OF_CLIENT = 16
"""The same of one client address."""

CROWDED_SHARE = 0.75
"""Of `gateway.limits.connections`: above it, idle connections are closed sooner."""

CROWDED_KEEP_SHARE = 0.1
"""Of `gateway.limits.keep_alive`: how long idle connections stay then."""


class Member(Protocol):
    """A connection as its server sees it."""

    party: str

    def check(self, now_s: float, *, crowded: bool) -> None:
        """Act on what has taken too long; if `crowded`, idle ones should go sooner."""
        ...

    def retire(self, now_s: float, *, grace_s: float) -> None:
        """Close if idle."""
        ...

    def drop(self) -> None:
        """Cut the connection and cancel its handler."""
        ...

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The handler that runs, if this member holds it."""
        ...


@dataclass(slots=True)
class Shared:
    """What all connections of a server share.

    Attributes
    ----------
    in_flight : int
        Handlers that run. Each is held by its connection, or by `strays` when that is gone.
    """

    handler: Handler
    limits: LimitsConfig
    clock: Clock
    server_error: ServerError
    heads: ResponseHeads
    loop: asyncio.AbstractEventLoop
    in_flight: int = 0
    clients: ClientCounts = field(default_factory=ClientCounts)
    strays: set[asyncio.Task[None]] = field(default_factory=set)
    connections: set[Member] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    accepted_total: int = 0
    requests_total: int = 0
    refused_total: int = 0
    failed_total: int = 0
    disconnected_total: int = 0

    def stray(self, task: asyncio.Task[None]) -> None:
        """Hold a task whose connection will not: the loop keeps only weak references."""
        self.strays.add(task)
        task.add_done_callback(self.strays.discard)

    def running(self) -> set[asyncio.Task[None]]:
        """Return every handler's task."""
        held = {member.task for member in self.connections}
        return {task for task in (*held, *self.strays) if task is not None}

    @property
    def crowded(self) -> bool:
        """Say whether idle connections take the room that others will need."""
        return len(self.connections) > CROWDED_SHARE * self.limits.connections

    def enter(self, member: Member) -> Refusal | None:
        """Count a new connection; return why it cannot stay, if so.

        Raises
        ------
        ConnectionRefusedError
            So many are being refused already that this one is not even told.
        """
        limits = self.limits
        self.accepted_total += 1
        self.connections.add(member)
        of_client = self.clients.enter(member.party) - limits.connections_per_client
        excess = len(self.connections) - limits.connections
        if excess > OVERFLOW_CONNECTIONS or of_client > OVERFLOW_OF_CLIENT:
            raise ConnectionRefusedError
        if excess > 0:
            return TOO_MANY_CONNECTIONS
        return TOO_MANY_OF_CLIENT if of_client > 0 else None

    def leave(self, member: Member) -> None:
        """Forget a connection that is lost."""
        self.connections.discard(member)
        self.clients.leave(member.party)
        if not self.connections:
            self.emptied.set()

    def replace(self, member: Member, by: Member) -> None:
        """Let another object stand for a connection."""
        if member in self.connections:
            self.connections.remove(member)
            self.connections.add(by)
