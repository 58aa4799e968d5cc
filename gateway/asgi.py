"""The same handler under any ASGI 3 server: what it says becomes messages instead of bytes."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from urllib.parse import quote

from gateway.config import LimitsConfig
from gateway.errors import Overloaded, RequestError
from gateway.exchange import Handler
from gateway.incoming import Incoming
from gateway.request_reader import RequestHead
from gateway.response_head import INTERNAL, Refusal, openai_error, refusal_headers, refusal_of
from gateway.server_state import WRITE_HIGH_BYTES
from gateway.write_gate import WriteGate
from router.clock import Clock
from router.tasks import TaskSet
from router.upstream import Duplex, Headers

LOG = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_USUALLY_EMPTY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose body, over HTTP/2, is none unless its length is declared."""

_NO_SWITCH = Refusal(501, "WebSockets need the gateway's own server; this one runs it as ASGI")


class AnswerCut(Exception):
    """An answer started but could not be completed; the server cuts the connection."""


class AsgiLink:
    """Carries the messages of one exchange; its queue of what is unsent bounds the handler."""

    def __init__(self, limits: LimitsConfig, clock: Clock, client: str) -> None:
        self.limits = limits
        self.clock = clock
        self.client = client
        self.gate = WriteGate()
        self.intake = self
        self.gone = False
        self.cut = False
        self.exchange: Incoming | None = None
        self._room = asyncio.Event()
        self._outbox: deque[Message] = deque()
        self._unsent_bytes = 0
        self._closed = False
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    # Called by the exchange.

    def pause(self) -> None:
        """Receive no more of the body."""
        self._room.clear()

    def want_body(self, wait_s: float) -> None:
        """Receive on, and end the wait after so long."""
        self._stop_timer()
        if self.exchange is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_s, self.exchange.time_out)
        self._room.set()

    def send(self, data: bytes) -> bool:  # noqa: ARG002 - part of the seam
        """Drop an interim response: the server sends its own when the body is received."""
        return True

    def post(self, message: Message) -> bool:
        """Queue a message; False when the client reads too slowly."""
        if not self.gone:
            self._outbox.append(message)
            self._unsent_bytes += len(message.get("body", b""))
            if self._unsent_bytes > WRITE_HIGH_BYTES:
                self.gate.shut = True
            self._news.set()
        return not self.gate.shut

    def close(self, *, cut: bool = False) -> None:
        """End the queue."""
        self.cut = self.cut or cut
        self._closed = True
        self._news.set()

    # Called by the application.

    async def bring(self, receive: Receive, exchange: Incoming) -> None:
        """Feed the body to the exchange as it is wanted; return when the client is gone."""
        while not exchange.complete:
            await self._room.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            if message.get("body"):
                exchange.add_body(bytes(message["body"]))
            if not message.get("more_body", False):
                self._stop_timer()
                exchange.end_body()
        while exchange.complete and (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.gate.open()
        self.close()

    async def take(self, send: Send) -> None:
        """Send what is queued until the queue is closed or the client is gone."""
        while not self.gone:
            while self._outbox and not self.gone:
                message = self._outbox.popleft()
                try:
                    await send(message)
                except OSError:
                    # How a server may tell that nobody is there any more.
                    self.gone = True
                self._unsent_bytes -= len(message.get("body", b""))
                if self.gate.shut and self._unsent_bytes <= WRITE_HIGH_BYTES // 4:
                    self.gate.open()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def stop(self) -> None:
        """Let go of the timer and of who waits for room."""
        self.gone = True
        self._stop_timer()
        self.gate.open()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AsgiExchange(Incoming):
    """Implements `gateway.exchange.Exchange` with ASGI messages."""

    __slots__ = ("_left_bytes", "_link", "_silent", "_start", "finished")

    def __init__(self, head: RequestHead, link: AsgiLink) -> None:
        super().__init__(head, link)
        self.finished = False
        self._link = link
        self._start: tuple[int, Headers, int | None] | None = None
        self._left_bytes: int | None = None
        self._silent = head.method == "HEAD"
        link.exchange = self

    def start(self, status: int, headers: Headers, *, length: int | None = None) -> None:
        """Set status and headers; see `gateway.exchange.Exchange.start`."""
        if self.responded:
            raise RuntimeError("the answer was started already; an exchange has one")
        joined = b"".join([part for header in headers for part in header])
        if any(byte in joined for byte in (b"\r", b"\n", b"\0")):
            raise ValueError("a response header contains a line break or NUL")
        self.responded = True
        self._start = (status, headers, length)

    def write(self, chunk: bytes) -> bool:
        """Send a part of the body; see `gateway.exchange.Exchange.write`."""
        if self.finished:
            raise RuntimeError("the answer is finished; nothing may follow")
        return self._post(chunk, last=False)

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once; see `gateway.exchange.Exchange.when_writable`."""
        self._link.gate.when_open(callback)

    async def drain(self) -> None:
        """Wait until the client has taken enough that more may be written."""
        await self._link.gate.wait()

    def finish(self, chunk: bytes = b"") -> None:
        """Send the last part and end the answer; see `gateway.exchange.Exchange.finish`."""
        if self.finished:
            return
        self._post(chunk, last=True)
        self.finished = True
        self._link.close()

    def abort(self) -> None:
        """Let the server cut the connection after what was written."""
        if not self.finished:
            self._link.close(cut=True)

    def switch(self, headers: Headers) -> Duplex:  # noqa: ARG002 - part of the seam
        """Raise `RuntimeError`: ASGI carries messages, not the bytes of another protocol."""
        raise RuntimeError("an ASGI server hands no connection over; `upgrade` is always empty")

    def _post(self, chunk: bytes, *, last: bool) -> bool:
        if self._start is not None:
            self._post_start(len(chunk) if last else None)
        elif not self.responded:
            raise RuntimeError("`start` comes before `write` and `finish`")
        if self._silent:
            chunk = b""
        elif self._left_bytes is not None:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0 or (last and self._left_bytes):
                raise ValueError("the answer is not as long as declared")
        body = {"type": "http.response.body", "body": chunk, "more_body": not last}
        return self._link.post(body)

    def _post_start(self, whole_bytes: int | None) -> None:
        assert self._start is not None
        status, headers, length = self._start
        self._start = None
        lower = [(name.lower(), value) for name, value in headers]
        bodyless = status in {204, 304}
        if length is None and not (bodyless or (self._silent and not whole_bytes)):
            length = whole_bytes
        if length is not None and status != 204:
            lower.append((b"content-length", b"%d" % length))
        self._silent = self._silent or bodyless
        self._left_bytes = None if self._silent else length
        self._link.post({"type": "http.response.start", "status": status, "headers": lower})


class AsgiApp:
    """An ASGI 3 application around a handler.

    What is below HTTP messages is the server's: reading heads and their limits, keep-alive, limits
    of connections, TLS. Bodies, their limits and timeouts, requests in flight, back-pressure and
    the cancelling of handlers are as in `gateway.server.Server`. An upgrade cannot be taken over:
    `Exchange.upgrade` is empty, and the `websocket` scope is answered 501 where the server has
    the extension `websocket.http.response`, else closed (403).

    Parameters
    ----------
    handler : gateway.exchange.Handler
    limits : LimitsConfig
    clock : Clock
    resources : asynchronous context manager, optional
        Entered at the start of the server's lifespan and left at its end.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: LimitsConfig,
        clock: Clock,
        resources: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._clock = clock
        self._resources = resources or nullcontext()
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope.

        Raises
        ------
        AnswerCut
            The answer started and was aborted: the only way to make a server cut the connection.
        """
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise ValueError(f"no such scope here: `{scope['type']}`")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        link = AsgiLink(self._limits, self._clock, str(client[0]) if client else "")
        exchange = AsgiExchange(_head_of(scope, self._clock.monotonic()), link)
        tasks = TaskSet()
        if _is_of_unknown_length(scope, exchange):
            exchange.body_length = None
        if exchange.body_length == 0:
            link.want_body(self._limits.body_timeout)
        bringing = tasks.start(link.bring(receive, exchange))
        answering = tasks.start(self._answer(exchange, link))
        try:
            await link.take(send)
            if not link.gone or exchange.finished:
                await asyncio.wait({answering})
        finally:
            link.stop()
            bringing.cancel()
            await tasks.cancel()
        if link.cut:
            raise AnswerCut

    async def _answer(self, exchange: AsgiExchange, link: AsgiLink) -> None:
        self.in_flight += 1
        try:
            if self.in_flight > self._limits.in_flight:
                raise Overloaded("this worker has as many requests as `in_flight` allows")
            await self._handler(exchange)
            if not exchange.finished and not link.cut:
                raise RuntimeError("the handler returned without finishing its answer")
        except RequestError as error:
            _apologise(exchange, refusal_of(error))
        except Exception:
            LOG.exception("the handler of %s %s failed", exchange.method, exchange.path)
            _apologise(exchange, INTERNAL)
        finally:
            self.in_flight -= 1

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with self._resources:
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except Exception as error:
            await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _is_of_unknown_length(scope: Scope, exchange: AsgiExchange) -> bool:
    """Say whether a body may come that no field announces, as HTTP/2 allows (RFC 9113, 8.1)."""
    if scope.get("http_version", "1.1").startswith("1") or exchange.method in _USUALLY_EMPTY:
        return False
    return exchange.header(b"content-length") is None


def _apologise(exchange: AsgiExchange, refusal: Refusal) -> None:
    if exchange.responded:
        exchange.abort()
        return
    body = openai_error(exchange.path, refusal)
    exchange.start(refusal.status, refusal_headers(refusal.status), length=len(body))
    exchange.finish(body)


def _head_of(scope: Scope, started_s: float) -> RequestHead:
    raw_path = scope.get("raw_path")
    headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    return RequestHead(
        method=scope["method"],
        path=raw_path.decode("latin-1") if raw_path else quote(scope["path"]),
        query=bytes(scope.get("query_string", b"")),
        headers=headers,
        fields={name.lower(): value for name, value in reversed(headers)},
        http11=scope.get("http_version", "1.1") != "1.0",
        keep_alive=True,
        started_s=started_s,
        upgrade=b"",
    )


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = openai_error(scope["path"], _NO_SWITCH)
    headers = [*refusal_headers(501), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
