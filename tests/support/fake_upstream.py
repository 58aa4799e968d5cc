"""The scriptable upstream that all tests share: a real server that can misbehave on cue.

    with FakeUpstream() as upstream:
        upstream.script("status:503", "ok")   # the next two requests; after them the default
        upstream.default = "slow_tokens:0.1"
        ... upstream.url ...                  # http://127.0.0.1:PORT/v1
        assert upstream.requests[0].json["model"] == "m"

It runs in a thread with its own loop, so synchronous tests, asynchronous tests and programs the
test starts can all use it. Behaviours are the names of `support.fake_answers.SCRIPTS`, or script
functions. A request whose model is `fault:NAME...` chooses its own when no script is queued.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, cast

import httptools
from support.fake_answers import CLOSE, RESET, End, Pause, Script, SeenRequest, Step, script_named

_LINGER_OFF = struct.pack("ii", 1, 0)


class FakeUpstream:
    """A context manager around the server.

    Parameters
    ----------
    default : str or Script
        What requests get for which nothing is scripted.
    host : str
        Address to listen on; the port is free to choose.
    path : str, optional
        Listen on this Unix socket instead.
    tls : ssl.SSLContext, optional
        Speak TLS.

    Attributes
    ----------
    requests : list of SeenRequest
        In the order of arrival.
    connections, open_connections : int
        Accepted so far, and open now.
    aborts : list of float
        `time.monotonic` of each time a client left before its answer was complete.
    """

    def __init__(
        self,
        default: str | Script = "ok",
        *,
        host: str = "127.0.0.1",
        path: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.default = default
        self.requests: list[SeenRequest] = []
        self.connections = 0
        self.open_connections = 0
        self.aborts: list[float] = []
        self.port = 0
        self._host = host
        self._path = path
        self._tls = tls
        self._queue: deque[str | Script] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-upstream", daemon=True)
        self._server: asyncio.Server | None = None
        self._protocols: set[_Connection] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    @property
    def url(self) -> str:
        """Base URL, as a configuration would give it."""
        if self._path is not None:
            return f"unix://{self._path}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/v1"

    def script(self, *behaviours: str | Script) -> None:
        """Queue behaviours for the next requests."""
        self._queue.extend(behaviours)

    def accept(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._server is None:
            self._call(self._listen())

    def refuse(self) -> None:
        """Stop listening and cut every connection: clients are refused."""
        self._call(self._stop())

    def drop_connections(self) -> None:
        """Close what is open, idle connections too; go on listening."""
        self._call(self._drop())

    def send_unasked(self, data: bytes) -> None:
        """Send bytes on every open connection, whatever it is doing."""
        self._call(self._send(data))

    def wait_for(self, what: str, count: int, timeout_s: float = 5.0) -> None:
        """Wait until `requests`, `aborts` or `connections` has reached a count."""
        deadline_s = time.monotonic() + timeout_s
        while self._count(what) < count:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self._count(what)} {what}, {count} expected")
            time.sleep(0.002)

    def wait_until_idle(self, timeout_s: float = 5.0) -> None:
        """Wait until no connection is open."""
        deadline_s = time.monotonic() + timeout_s
        while self.open_connections:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self.open_connections} connections are open")
            time.sleep(0.002)

    def next_script(self, request: SeenRequest) -> Script:
        """Return what a request gets."""
        if self._queue:
            chosen = self._queue.popleft()
        elif request.model.startswith("fault:"):
            chosen = request.model.removeprefix("fault:")
        else:
            chosen = self.default
        return script_named(chosen) if isinstance(chosen, str) else chosen

    def opened(self, protocol: "_Connection") -> int:
        """Count a connection; return its number."""
        self._protocols.add(protocol)
        self.connections += 1
        self.open_connections += 1
        return self.connections

    def closed(self, protocol: "_Connection") -> None:
        """Count a connection's end."""
        self._protocols.discard(protocol)
        self.open_connections -= 1

    def _count(self, what: str) -> int:
        value = getattr(self, what)
        return value if isinstance(value, int) else len(value)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=5)

    async def _listen(self) -> None:
        def factory() -> _Connection:
            return _Connection(self)

        loop = asyncio.get_running_loop()
        if self._path is not None:
            self._server = await loop.create_unix_server(factory, self._path, ssl=self._tls)
            return
        self._server = await loop.create_server(
            factory, self._host, self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        for protocol in list(self._protocols):
            protocol.drop()
        await asyncio.sleep(0)

    async def _send(self, data: bytes) -> None:
        for protocol in list(self._protocols):
            protocol.send(data)

    async def _close(self) -> None:
        await self._stop()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Connection(asyncio.Protocol):
    """One client: parses its requests, one after the other, and runs their scripts."""

    def __init__(self, owner: FakeUpstream) -> None:
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._pending: deque[SeenRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._answering = False
        self._ours = False

    def drop(self) -> None:
        """Close without a word."""
        self._ours = True
        if self._transport is not None:
            self._transport.abort()

    def send(self, data: bytes) -> None:
        """Send bytes at once."""
        if self._transport is not None:
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._number = self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse; what is not HTTP is a fault of the test's subject and is cut."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the end, and whether the client left too early."""
        self._owner.closed(self)
        if self._answering and not self._ours:
            self._owner.aborts.append(time.monotonic())
        self._gone.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Wait for a client that does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def on_message_begin(self) -> None:
        """Start a request."""
        self._target = b""
        self._headers = []
        self._body = []

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field."""
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Record the request and answer it in its turn."""
        body = b"".join(self._body)
        request = SeenRequest(
            method=self._parser.get_method().decode(),
            target=self._target.decode("latin-1"),
            headers=self._headers,
            body=body,
            at_s=time.monotonic(),
            connection_no=self._number,
            json=_json_or_none(body),
        )
        self._owner.requests.append(request)
        self._pending.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while self._pending and not self._gone.is_set():
            request = self._pending.popleft()
            self._answering = True
            for step in self._owner.next_script(request)(request):
                await self._do(step)
                if self._gone.is_set() or self._ours:
                    break
            else:
                self._answering = False
        self._task = None

    async def _do(self, step: Step) -> None:
        transport = self._transport
        assert transport is not None
        if isinstance(step, bytes):
            transport.write(step)
            if transport.is_closing():
                # Writing on would never yield, so `connection_lost` would never be called.
                await self._gone.wait()
            await self._writable.wait()
        elif isinstance(step, Pause):
            await self._until_gone(step.seconds)
        else:
            await self._end(step, transport)

    async def _end(self, step: End, transport: asyncio.Transport) -> None:
        if step == CLOSE:
            self._ours = True
            transport.close()
        elif step == RESET:
            self._ours = True
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            transport.abort()
        else:
            await self._gone.wait()

    async def _until_gone(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return


def _json_or_none(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
