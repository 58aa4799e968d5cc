"""The downstream server: HTTP/1.1 on listening sockets that somebody else bound."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import NamedTuple

from gateway.config import LimitsConfig
from gateway.connection import Connection
from gateway.exchange import Handler
from gateway.listener import Listener
from gateway.response_head import ResponseHeads, ServerError, openai_error
from gateway.server_state import Shared
from router.clock import Clock
from router.tasks import TaskSet

FIRST_REQUEST_GRACE_S = 1.0
"""While draining, how long a new connection may take to bring its first request."""


class ServerStatistics(NamedTuple):
    """A moment of one server.

    Attributes
    ----------
    connections : int
        Open, idle ones included.
    in_flight : int
        Requests whose handler runs.
    accepted_total : int
        Connections.
    requests_total : int
        Requests handed to the handler.
    refused_total : int
        Answered with a protocol error, before there was a request.
    failed_total : int
        Handlers that raised something else than a `RequestError`.
    disconnected_total : int
        Handlers cancelled because their client left.
    """

    connections: int
    in_flight: int
    accepted_total: int
    requests_total: int
    refused_total: int
    failed_total: int
    disconnected_total: int


class Server:
    """Owns listening sockets and the connections made to them.

    Parameters
    ----------
    handler : gateway.exchange.Handler
        Awaited once a request, in a task of its own; at most one a connection.
    limits : LimitsConfig
    clock : Clock
    server_error : ServerError
        Writes the body of an error that the server answers itself.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: LimitsConfig,
        clock: Clock,
        server_error: ServerError = openai_error,
    ) -> None:
        loop = asyncio.get_running_loop()
        heads = ResponseHeads(clock)
        self._shared = Shared(handler, limits, clock, server_error, heads, loop)
        shortest_s = min(limits.header_timeout, limits.body_timeout, limits.keep_alive)
        self._sweep_interval_s = max(0.01, min(1.0, shortest_s / 4))
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._listeners: list[Listener] = []
        self._arriving = TaskSet()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on bound, listening stream sockets (TCP or Unix), which are ours from now on."""
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._sweep_interval_s, self._sweep)
        for listening in sockets:
            self._listeners.append(Listener(listening, self._connection, self._arriving))

    def stop_accepting(self) -> None:
        """Close our end of the listening sockets; connections go on."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def drain(self, timeout_s: float) -> int:
        """Close idle connections, let running requests finish, then cut the rest.

        Returns
        -------
        int
            Requests that were still running at the deadline, and were cancelled.
        """
        self.stop_accepting()
        shared = self._shared
        started_s = shared.clock.monotonic()
        await self._arriving.wait(timeout_s)
        shared.draining = True
        grace_s = min(FIRST_REQUEST_GRACE_S, timeout_s)
        for connection in list(shared.connections):
            connection.retire(started_s, grace_s=grace_s)
        if shared.connections:
            shared.emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await shared.emptied.wait()
        left_s = timeout_s - (shared.clock.monotonic() - started_s)
        tasks = shared.running()
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=max(0.0, left_s))
        for connection in list(shared.connections):
            connection.drop()
        left_over = shared.running()
        for task in left_over:
            task.cancel()
        await asyncio.gather(*left_over, return_exceptions=True)
        self._stop_sweep()
        return len(tasks)

    def statistics(self) -> ServerStatistics:
        """Return the server's numbers."""
        shared = self._shared
        return ServerStatistics(
            connections=len(shared.connections),
            in_flight=shared.in_flight,
            accepted_total=shared.accepted_total,
            requests_total=shared.requests_total,
            refused_total=shared.refused_total,
            failed_total=shared.failed_total,
            disconnected_total=shared.disconnected_total,
        )

    def _connection(self) -> Connection:
        return Connection(self._shared)

    def _sweep(self) -> None:
        """Check every connection; one timer for all costs less than one a request."""
        now_s = self._shared.clock.monotonic()
        crowded = self._shared.crowded
        for connection in list(self._shared.connections):
            connection.check(now_s, crowded=crowded)
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._sweep_interval_s, self._sweep)

    def _stop_sweep(self) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
