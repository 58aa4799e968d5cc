"""The HTTP/1.1 client behind `router.upstream.Upstream`: http, https and Unix sockets."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from router.address import Address, parse_address, tls_context
from router.clock import Clock
from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.http_connection import HttpConnection, Owner
from router.http_response import HttpResponse
from router.pool import IDLE_TIMEOUT_S, ConnectionPool
from router.request_head import HeadBuilder
from router.tasks import TaskSet
from router.upstream import UpstreamRequest, UpstreamStatistics

STALE_WITHIN_S = 1.0  # a kept-alive connection that fails later was not stale but broke


class HttpUpstream:
    """A model server reached by HTTP/1.1; implements `router.upstream.Upstream`.

    `config.headers` and credentials are the caller's to add: `send` writes the caller's fields,
    Host, Content-Length and, unless the caller asks otherwise, `Accept-Encoding: identity`.

    Parameters
    ----------
    config : UpstreamConfig
    clock : Clock
    socket_path, base_path : str, optional
        As in `parse_address`.
    idle_timeout_s : float
        Connections idle for longer are closed.

    Raises
    ------
    ValueError
        As `parse_address` and `tls_context`.
    """

    __slots__ = (
        "_address",
        "_clock",
        "_heads",
        "_pool",
        "_server_name",
        "_tasks",
        "_tls",
        "name",
    )

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        clock: Clock,
        socket_path: str | None = None,
        base_path: str | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self.name = config.name
        self._address = parse_address(config, socket_path=socket_path, base_path=base_path)
        self._tls = tls_context(config) if self._address.tls else None
        self._pool = ConnectionPool(config, self._connect, clock, idle_timeout_s=idle_timeout_s)
        self._server_name = config.server_name or self._address.host
        self._clock = clock
        self._heads = HeadBuilder(config.name, self._address)
        self._tasks = TaskSet()

    async def send(self, request: UpstreamRequest, *, connect_timeout_s: float) -> HttpResponse:
        """Send a request and return when the head of the answer has arrived.

        When a connection that was kept alive turns out to be closed at once, and no byte of an
        answer came, the request is sent once more on a new connection. Later failures are the
        caller's to judge: by then the upstream may have worked on the request.

        Raises
        ------
        UpstreamFault
            INVALID_REQUEST when target, method or fields cannot be sent as they are (a line
            break in a value, a target that leaves the base path); UPSTREAM_BUSY when no
            connection is free; UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_INVALID.
        """
        head = self._heads.build(request)
        connection = self._pool.take_idle()
        reused = connection is not None
        if connection is None:
            connection, reused = await self._pool.acquire(connect_timeout_s)
        while True:
            sent_s = self._clock.monotonic()
            response = connection.start(head, request)
            upload = connection.upload
            if upload is not None:
                upload.started_as(self._tasks.start(upload.run()))
            try:
                await response.arrived
            except BaseException:
                response.release()
                raise
            if response.head_complete:
                return response
            response.release()
            fault = response.fault
            assert fault is not None
            late = self._clock.monotonic() - sent_s > STALE_WITHIN_S
            consumed = upload is not None and upload.consumed
            if not reused or response.started or late or consumed:
                raise fault
            connection, reused = await self._pool.acquire(connect_timeout_s, fresh=True)

    def statistics(self) -> UpstreamStatistics:
        """Return the pool's numbers."""
        return self._pool.statistics()

    def retire(self) -> None:
        """Keep no connection from now on: a reload has put another client in this one's place."""
        self._pool.retire()

    async def aclose(self) -> None:
        """Close every connection; later requests are refused."""
        await self._pool.aclose()
        await self._tasks.cancel()

    async def _connect(self, owner: Owner) -> HttpConnection:
        loop = asyncio.get_running_loop()
        address = self._address
        connection = HttpConnection(self.name, owner, loop)
        factory = partial(_same, connection)
        try:
            with _translated(self.name, address):
                if address.socket_path is not None:
                    await loop.create_unix_connection(
                        factory,
                        address.socket_path,
                        ssl=self._tls,
                        server_hostname=self._server_name if self._tls else None,
                    )
                else:
                    await loop.create_connection(
                        factory,
                        address.host,
                        address.port,
                        ssl=self._tls,
                        server_hostname=self._server_name if self._tls else None,
                    )
        except BaseException:
            # The loop may have made the connection in the turn in which the task was cancelled.
            connection.abort()
            raise
        return connection


def _same(connection: HttpConnection) -> HttpConnection:
    return connection


@contextmanager
def _translated(name: str, address: Address) -> Iterator[None]:
    """Turn what sockets, resolvers and TLS raise into faults of the connect phase."""
    where = address.socket_path or f"{address.authority} (port {address.port})"
    reason = Reason.UPSTREAM_UNREACHABLE
    try:
        yield
    except ssl.SSLError as error:
        cause: Exception = error
        what = f"TLS with {where} failed: {error.reason or error}"
    except socket.gaierror as error:
        cause, what = error, f"`{address.host}` cannot be resolved: {error.strerror}"
    except TimeoutError as error:
        cause, what, reason = error, f"{where} does not answer", Reason.UPSTREAM_TIMEOUT
    except (OSError, UnicodeError) as error:
        cause, what = error, f"cannot connect to {where}: {error}"
    else:
        return
    raise UpstreamFault(
        f"upstream `{name}`: {what}", reason=reason, sent=False, connect_phase=True
    ) from cause
