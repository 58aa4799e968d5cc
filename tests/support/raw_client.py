"""A server on a free port, and a client that sends the bytes it is told and nothing else."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

import uvloop

from gateway.config import LimitsConfig
from gateway.exchange import Exchange, Handler
from gateway.server import Server
from router.clock import SystemClock


class Answer(NamedTuple):
    """One response as read off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object."""
        return dict(json.loads(self.body)["error"])


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> Answer:
        """Read one response; `head_only` for those that have no body by rule."""
        head = (await self.within(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        body = b"" if head_only else await self.within(self._body(headers))
        return Answer(int(first.split(" ")[1]), headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def ask(self, data: bytes) -> Answer:
        """Send bytes and read one response."""
        await self.send(data)
        return await self.answer()

    async def at_end(self) -> bool:
        """Wait for the server to end the connection; True if it sent nothing more."""
        try:
            return await self.within(self.reader.read()) == b""
        except ConnectionResetError:
            return True

    async def within(self, what: Coroutine[Any, Any, bytes]) -> bytes:
        """Bound a wait."""
        return await asyncio.wait_for(what, 5.0)

    async def close(self) -> None:
        """Close; FIN, or a reset if something is unread."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Served:
    """A running server and the clients made for it."""

    def __init__(self, server: Server, address: tuple[str, int]) -> None:
        self.server = server
        self.address = address
        self.clients: list[RawClient] = []

    async def client(self, *, limit: int = 65_536) -> RawClient:
        """Connect."""
        client = RawClient(*await asyncio.open_connection(*self.address, limit=limit))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Answer:
        """Send bytes on a new connection and read one response."""
        return await (await self.client()).ask(data)


@contextlib.asynccontextmanager
async def serving(handler: Handler, **limits: Any) -> AsyncIterator[Served]:
    """Run a server for the time of the block; nothing of it may be left afterwards."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    address = listening.getsockname()
    server = Server(handler, limits=LimitsConfig(**limits), clock=SystemClock())
    await server.start([listening])
    served = Served(server, address)
    try:
        yield served
    finally:
        for client in served.clients:
            await client.close()
        await server.drain(1.0)
        assert server.statistics().in_flight == 0


async def echo(exchange: Exchange) -> None:
    """Answer with method, path, query and body."""
    body = await exchange.body()
    exchange.start(200, [(b"content-type", b"text/plain")])
    said = b"%b %b?%b|" % (exchange.method.encode(), exchange.path.encode(), exchange.query)
    exchange.finish(said + body)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on the event loop that serves in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


async def until(condition: Callable[[], bool], *, timeout_s: float = 3.0) -> None:
    """Wait until a condition holds."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s
        await asyncio.sleep(0.005)
