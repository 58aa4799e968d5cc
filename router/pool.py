"""The connections of one upstream: bounded, reused last in first out, never leaked.

A slot is taken before a connection is opened and freed the moment its exchange ends, by plain
arithmetic in calls that never await, so that a cancelled task cannot leave one behind.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from router.clock import Clock
from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.http_connection import HttpConnection, Owner
from router.upstream import UpstreamStatistics

IDLE_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 1.0

Connect = Callable[[Owner], Awaitable[HttpConnection]]
"""Opens a connection for an owner."""


class ConnectionPool:
    """At most `config.max_connections` connections and `config.max_queue` requests waiting.

    Parameters
    ----------
    config : UpstreamConfig
    connect : Connect
        Raises `UpstreamFault` when it cannot.
    clock : Clock
        Tells how long a connection has been idle.
    idle_timeout_s : float
        Connections idle for longer are closed.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_connect",
        "_emptied",
        "_idle",
        "_idle_timeout_s",
        "_in_use",
        "_max_connections",
        "_max_queue",
        "_name",
        "_open",
        "_retired",
        "_sweep_timer",
        "_waiters",
    )

    def __init__(
        self,
        config: UpstreamConfig,
        connect: Connect,
        clock: Clock,
        *,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._name = config.name
        self._max_connections = config.max_connections
        self._max_queue = config.max_queue
        self._connect = connect
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._idle: dict[HttpConnection, float] = {}  # in the order of becoming idle
        self._open: set[HttpConnection] = set()
        self._waiters: deque[asyncio.Future[HttpConnection | None]] = deque()
        self._in_use = 0
        self._closed = False
        self._retired = False
        self._emptied: asyncio.Event | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None

    def take_idle(self) -> HttpConnection | None:
        """Return the connection that became idle last, if a sound one is left. Never waits."""
        while self._idle:
            connection, since_s = self._idle.popitem()
            fresh = self._clock.monotonic() - since_s < self._idle_timeout_s
            if fresh and connection.is_quiet():
                self._in_use += 1
                return connection
            connection.abort()
        return None

    async def acquire(
        self, timeout_s: float, *, fresh: bool = False
    ) -> tuple[HttpConnection, bool]:
        """Return a connection and whether it was used before.

        Parameters
        ----------
        timeout_s : float
            Bounds waiting and connecting together.
        fresh : bool
            Only a connection that carried no request yet will do.

        Raises
        ------
        UpstreamFault
            UPSTREAM_BUSY when the queue is full or none came free in time, UPSTREAM_TIMEOUT or
            UPSTREAM_UNREACHABLE when connecting failed; nothing was sent.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        async with _bounded(deadline_s, self._busy("none of its connections came free in time")):
            handed = await self._slot(fresh=fresh)
        if handed is not None:
            if not fresh and handed.is_quiet():
                return handed, True
            handed.abort()
        try:
            async with _bounded(deadline_s, self._timed_out(timeout_s)):
                connection = await self._connect(self)
        except BaseException:
            self._hand_on(None)
            raise
        if self._closed:
            connection.abort()
            self._in_use -= 1
            raise self._shut()
        if not connection.lost:
            self._open.add(connection)
        return connection, False

    def give_back(self, connection: HttpConnection, *, reusable: bool) -> None:
        """End an exchange: the connection goes to the next request if it can carry one."""
        if reusable and self._closed:
            connection.abort()
            reusable = False
        self._hand_on(connection if reusable else None)

    def forget(self, connection: HttpConnection) -> None:
        """Drop a connection that has closed itself."""
        self._idle.pop(connection, None)
        self._open.discard(connection)
        if self._emptied is not None and not self._open:
            self._emptied.set()

    def statistics(self) -> UpstreamStatistics:
        """Return the numbers of this moment; a connection being opened is in use."""
        return UpstreamStatistics(
            in_use=self._in_use, idle=len(self._idle), waiting=len(self._waiters)
        )

    def retire(self) -> None:
        """Keep no connection from now on; exchanges under way, and who waits, are served."""
        self._retired = True
        idle, self._idle = self._idle, {}
        for connection in idle:
            connection.abort()

    async def aclose(self) -> None:
        """Close every connection, those in use too, and refuse who waits."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(self._shut())
        self._idle.clear()
        if not self._open:
            return
        self._emptied = asyncio.Event()
        for connection in self._open:
            connection.abort()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._emptied.wait()
        except TimeoutError:
            # The sockets are closed all the same; only the loop has not said so yet.
            return

    async def _slot(self, *, fresh: bool) -> HttpConnection | None:
        """Take a slot; with it comes the connection that held it before, if that is sound."""
        if self._closed:
            raise self._shut()
        if not fresh and (connection := self.take_idle()) is not None:
            return connection
        if self._in_use + len(self._idle) < self._max_connections:
            self._in_use += 1
            return None
        if self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()
            self._in_use += 1
            return None
        if len(self._waiters) >= self._max_queue:
            raise self._busy("its connections are all in use and its queue is full")
        waiter: asyncio.Future[HttpConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Cancelled in the same turn in which it was handed the slot.
                self._hand_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _hand_on(self, connection: HttpConnection | None) -> None:
        """Pass a slot, and perhaps its connection, to the next request; else keep or free it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._in_use -= 1
        if connection is not None and self._retired:
            connection.abort()
        elif connection is not None:
            self._idle[connection] = self._clock.monotonic()
            if self._sweep_timer is None:
                self._schedule_sweep(self._idle_timeout_s)

    def _schedule_sweep(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(max(delay_s, 0.01), self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer serves the whole pool."""
        self._sweep_timer = None
        oldest_allowed_s = self._clock.monotonic() - self._idle_timeout_s
        while self._idle:
            connection, since_s = next(iter(self._idle.items()))
            if since_s > oldest_allowed_s:
                self._schedule_sweep(since_s - oldest_allowed_s)
                return
            del self._idle[connection]
            connection.abort()

    def _busy(self, why: str) -> UpstreamFault:
        return UpstreamFault(
            f"upstream `{self._name}` is busy: {why}; `upstreams.{self._name}.max_connections` is "
            f"{self._max_connections}, `max_queue` is {self._max_queue}",
            reason=Reason.UPSTREAM_BUSY,
            sent=False,
        )

    def _timed_out(self, timeout_s: float) -> UpstreamFault:
        return UpstreamFault(
            f"no connection to upstream `{self._name}` within {timeout_s:g} s",
            reason=Reason.UPSTREAM_TIMEOUT,
            sent=False,
            connect_phase=True,
        )

    def _shut(self) -> UpstreamFault:
        return UpstreamFault(
            f"upstream `{self._name}` is closed: the gateway shuts down or was reconfigured",
            reason=Reason.SHUTTING_DOWN,
            sent=False,
        )


@asynccontextmanager
async def _bounded(deadline_s: float, fault: UpstreamFault) -> AsyncIterator[None]:
    """Raise a fault when the block runs past a deadline of the loop's clock."""
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise fault from error
