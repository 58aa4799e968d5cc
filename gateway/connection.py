"""One downstream connection: reads requests, runs one handler at a time, closes in order."""

import asyncio
import logging
import math
from collections import deque

from gateway.client_line import ClientLine
from gateway.errors import Overloaded, RequestError
from gateway.peer import reset_connection, watch_half_close
from gateway.request_reader import SLICE_BYTES, RequestHead, RequestReader
from gateway.response_head import (
    HEAD_TIMEOUT,
    INTERNAL,
    Refusal,
    refusal_headers,
    refusal_of,
)
from gateway.server_exchange import ServerExchange
from gateway.server_state import CROWDED_KEEP_SHARE, Shared
from gateway.tunnel import Tunnel

LOG = logging.getLogger(__name__)


class Connection(ClientLine):
    """Speaks HTTP/1.1 and HTTP/1.0 with one client.

    A client is gone when its connection is lost. The end of its input alone may be a half-close
    by a client that still reads: a request that waits for its answer is then kept if an interim
    response (100, RFC 9110 section 15.2) is taken without a reset, for HTTP/1.1 and as long as no
    answer was started; in every other case the end of input counts as gone, at once.

    Bytes reach the reader in the order in which they came: whenever it may read, nothing is held
    in `intake`. It may not while a complete request waits for its answer, or the client for room.
    """

    __slots__ = (
        "_active",
        "_deaf",
        "_newest",
        "_queue",
        "_reader",
        "_refusal",
        "_tunnel",
        "task",
    )

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._reader = RequestReader(self, limits=shared.limits, clock=shared.clock)
        self._active: ServerExchange | None = None
        self._newest: ServerExchange | None = None
        self._queue: deque[ServerExchange] = deque()
        self.task: asyncio.Task[None] | None = None
        self._tunnel: Tunnel | None = None
        self._refusal: Refusal | None = None
        self._deaf = False

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or say that there are too many."""
        super().connection_made(transport)
        shared = self._shared
        try:
            refusal = shared.enter(self)
        except ConnectionRefusedError:
            self._transport.abort()
            return
        self.deadline_s = shared.clock.monotonic() + shared.limits.header_timeout
        if refusal is not None:
            self._refuse(refusal)

    def data_received(self, data: bytes) -> None:
        """Read on, or keep what has arrived before its turn."""
        if self._closing or self._deaf:
            return
        active = self._active
        if self.gate.shut if active is None else active.complete:
            self.intake.hold(data)
        else:
            self._read(data)

    def eof_received(self) -> bool:
        """Decide whether a client that sends no more still reads; True keeps the connection."""
        active = self._active
        if self._closing:
            return False
        if active is None or active.finished:
            self.intake.ended = self._pending()
            return self.intake.ended
        if active.responded or not active.complete or not active.accepts_interim:
            self.drop()
            self._cancel()
            return False
        watch_half_close(self._transport, waiting=self._is_waiting, gone=self.drop)
        self.intake.ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """Cancel the handler: nobody waits for its answer."""
        shared = self._shared
        self._lost = True
        self._deaf = True
        shared.leave(self)
        self._reader.close()
        self._queue.clear()
        self.intake.close()
        self.gate.open()
        self._cancel()

    def resume_writing(self) -> None:
        """Let handlers write again; take up a request that waited for room."""
        self.gate.open()
        if self._active is None and not self._closing:
            self._proceed()

    # Called by the reader.

    def head_read(self, head: RequestHead) -> ServerExchange:
        """Answer a request now, or after those before it."""
        exchange = self._newest = ServerExchange(head, self)
        if self._active is None:
            self._dispatch(exchange)
        else:
            self._queue.append(exchange)
        return exchange

    def rest_read(self, data: bytes | memoryview) -> None:
        """Hold what follows the head of an offered upgrade: it is read if that is taken."""
        self.intake.hold(data)

    # Called by exchanges.

    def switch(self, head: bytes) -> Tunnel:
        """Send the head of a 101 answer and hand the transport over."""
        tunnel = self._tunnel = Tunnel(self._shared, self.intake, self.gate, self.party)
        self._closing = True
        self._let_go()
        if not self._lost:
            self._shared.replace(self, tunnel)
            self._transport.set_protocol(tunnel)
            self._transport.write(head)
        return tunnel

    def cut(self, *, reset: bool) -> None:
        """Close after what was written; `reset` where a plain close would look like the end."""
        self._let_go()
        if self._lost or self._closing:
            return
        self._close(unread=False)
        if reset:
            reset_connection(self._transport)

    # Called by the server.

    def check(self, now_s: float, *, crowded: bool) -> None:
        """Act on a deadline that has passed, and on a client that takes nothing."""
        if (self.gate.shut or self._closing) and self._stuck(now_s):
            return
        due_s = self.deadline_s
        if crowded and self._idle:
            due_s -= (1 - CROWDED_KEEP_SHARE) * self.limits.keep_alive
        if now_s >= due_s:
            self._expire()

    def retire(self, now_s: float, *, grace_s: float) -> None:
        """Close if idle; a connection that is new may still bring the request it was made for."""
        if self._idle:
            self._close(unread=False)
        elif self._newest is None and not (self._closing or self._reader.in_message):
            self.deadline_s = min(self.deadline_s, now_s + grace_s)

    # Reading.

    def _read(self, data: bytes) -> None:
        rest = memoryview(data) if len(data) > SLICE_BYTES else b""
        refusal = self._reader.feed(rest[:SLICE_BYTES] if rest else data)
        while refusal is None and (rest := rest[SLICE_BYTES:]):
            if self._active is not None and self._active.complete:
                self.intake.hold(rest)
                return
            refusal = self._reader.feed(rest[:SLICE_BYTES])
        if refusal is not None:
            self._unreadable(refusal)
            return
        if self._active is None and self._reader.in_message:
            self.deadline_s = self._reader.started_s + self._shared.limits.header_timeout

    def _unreadable(self, refusal: Refusal) -> None:
        self._deaf = True
        if self._active is None:
            self._refuse(refusal)
        elif self._newest is not None and not self._newest.complete:
            self._newest.break_off(refusal.message)
        else:
            self._refusal = refusal

    # Answering.

    def _dispatch(self, exchange: ServerExchange) -> None:
        self._active = exchange
        self.deadline_s = math.inf
        self._shared.requests_total += 1
        self.task = self._shared.loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: ServerExchange) -> None:
        shared = self._shared
        shared.in_flight += 1
        try:
            if shared.in_flight > shared.limits.in_flight + shared.limits.queue:
                raise Overloaded(
                    "this worker has as many requests as `in_flight` and `queue` of"
                    " `gateway.limits` allow"
                )
            await shared.handler(exchange)
            if not exchange.finished and not self._closing:
                raise RuntimeError("the handler returned without finishing its answer")
        except RequestError as error:
            self._apologise(exchange, refusal_of(error))
        except Exception:
            shared.failed_total += 1
            LOG.exception("the handler of %s %s failed", exchange.method, exchange.path)
            self._apologise(exchange, INTERNAL)
        finally:
            shared.in_flight -= 1
            self._answered(exchange)

    def _apologise(self, exchange: ServerExchange, refusal: Refusal) -> None:
        if exchange.responded:
            exchange.abort()
            return
        body = self._shared.server_error(exchange.path, refusal)
        exchange.start(refusal.status, refusal_headers(refusal.status), length=len(body))
        exchange.finish(body)

    def _answered(self, exchange: ServerExchange) -> None:
        self._active = None
        self.task = None
        if self._tunnel is not None:
            self._tunnel.close()
        if self._lost or self._closing:
            return
        if not exchange.finished:
            exchange.abort()
        elif not exchange.keep_alive or self._shared.draining:
            self._close(unread=not exchange.complete or self._deaf or self._pending())
        elif not self.gate.shut:
            self._proceed()

    def _proceed(self) -> None:
        """Go on with what has arrived, or wait for the next request."""
        if self._queue:
            self._dispatch(self._queue.popleft())
        elif self._refusal is not None:
            self._refuse(self._refusal)
            return
        else:
            self._rest()
        active = self._active
        if not self._deaf and (active is None or not active.complete):
            self._take_up()

    def _rest(self) -> None:
        """Wait for a request, or for the rest of one whose turn it is now."""
        reader, limits = self._reader, self.limits
        now_s = self.clock.monotonic()
        wait_s = limits.keep_alive
        if reader.in_message:
            reader.started_s = now_s
            wait_s = limits.header_timeout
        self.deadline_s = now_s + wait_s

    def _take_up(self) -> None:
        """Read what was held: the rest of the request that is answered now, or the next one."""
        backlog = self.intake.take()
        if backlog:
            self._read(backlog)
        active = self._active
        if self._closing:
            return
        if active is None:
            if self.intake.ended:
                self._close(unread=False)
            else:
                self.intake.resume()
        elif self.intake.ended and not active.complete:
            active.break_off("the client ended its input within the body")

    def _expire(self) -> None:
        if self._closing:
            self.drop()
        elif self._active is not None:
            self.deadline_s = math.inf
            self._active.time_out()
        elif self._reader.in_message:
            self._refuse(HEAD_TIMEOUT)
        else:
            self._close(unread=False)

    @property
    def _idle(self) -> bool:
        """Say whether it waits for another request, with nothing of one read."""
        busy = self._active is not None or self._closing or self._reader.in_message
        return self._newest is not None and not busy

    def _pending(self) -> bool:
        return bool(self._queue) or len(self.intake) > 0 or self._refusal is not None

    def _is_waiting(self) -> bool:
        active = self._active
        return not self._lost and active is not None and not active.finished

    def _cancel(self) -> None:
        task = self.task
        if task is None:
            return
        self._let_go()
        if self._active is not None and not self._active.finished:
            self._shared.disconnected_total += 1
            task.cancel()

    def _let_go(self) -> None:
        """Leave a running handler to itself."""
        if self.task is not None:
            self._shared.stray(self.task)
            self.task = None
