"""What the connections of one server share, and the bounds they keep."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from gateway.config import LimitsConfig
from gateway.exchange import Handler
from gateway.response_head import ResponseHeads, ServerError
from router.clock import Clock
from router.tasks import TaskSet

WRITE_HIGH_BYTES = 262_144
"""Unsent bytes of an answer above which `drain` waits."""

AHEAD_BYTES = 65_536
"""Bytes read of a body nobody asked for yet, or of requests that wait for their turn."""

LINGER_S = 2.0
"""How long a refused client may go on sending before the connection is cut."""

OVERFLOW_CONNECTIONS = 256
"""Connections beyond the limit that are told so; further ones are cut."""


class Member(Protocol):
    """A connection as its server sees it."""

    deadline_s: float

    def check(self, now_s: float) -> None:
        """Act on what has taken too long."""
        ...

    def retire(self, now_s: float, *, grace_s: float) -> None:
        """Close if idle."""
        ...

    def drop(self) -> None:
        """Cut the connection and cancel its handler."""
        ...


@dataclass(slots=True)
class Shared:
    """What all connections of a server share."""

    handler: Handler
    limits: LimitsConfig
    clock: Clock
    server_error: ServerError
    heads: ResponseHeads
    tasks: TaskSet = field(default_factory=TaskSet)
    connections: set[Member] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    accepted_total: int = 0
    requests_total: int = 0
    refused_total: int = 0
    failed_total: int = 0
    disconnected_total: int = 0

    def leave(self, member: Member) -> None:
        """Forget a connection that is lost."""
        self.connections.discard(member)
        if not self.connections:
            self.emptied.set()

    def replace(self, member: Member, by: Member) -> None:
        """Let another object stand for a connection."""
        if member in self.connections:
            self.connections.remove(member)
            self.connections.add(by)
