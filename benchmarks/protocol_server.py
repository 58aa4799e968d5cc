"""A bare proxy of one server and one client, for `protocols.py`: nothing checked or recorded.

`python protocol_server.py SERVER CLIENT PORT UPSTREAM_PORT`
"""

import argparse
import asyncio
import importlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import uvicorn
import uvloop

from gateway.config import LimitsConfig
from gateway.exchange import Exchange
from gateway.server import Server
from router.clock import SystemClock
from router.config import UpstreamConfig
from router.transport import HttpUpstream
from router.upstream import Headers, UpstreamRequest, UpstreamResponse

STREAM = b'"stream": true'
_OWN = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"date"}
)


def passed(headers: Headers) -> Headers:
    """Return the fields that do not belong to a connection or a message."""
    return [(name, value) for name, value in headers if name.lower() not in _OWN]


class Plain(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Streamed(NamedTuple):
    """An answer that is still coming."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


class Client(Protocol):
    """Sends a request upstream."""

    async def plain(self, target: str, headers: Headers, body: bytes) -> Plain:
        """Return the whole answer."""
        ...

    def streamed(self, target: str, headers: Headers, body: bytes) -> AsyncIterator[Streamed]:
        """Give the answer once, and end it afterwards."""
        ...


class OwnClient:
    """`router.transport`."""

    def __init__(self, upstream: int) -> None:
        url = f"http://127.0.0.1:{upstream}"
        config = UpstreamConfig(name="up", url=url, max_connections=4096)
        self.upstream = HttpUpstream(config, clock=SystemClock())

    async def send(self, target: str, headers: Headers, body: bytes) -> UpstreamResponse:
        """Return the answer once its head is there."""
        request = UpstreamRequest(b"POST", target.encode(), passed(headers), body)
        return await self.upstream.send(request, connect_timeout_s=5.0)

    async def plain(self, target: str, headers: Headers, body: bytes) -> Plain:
        """Return the whole answer."""
        answer = await self.send(target, headers, body)
        parts = []
        while part := await answer.read():
            parts.append(part)
        answer.release()
        return Plain(answer.status, passed(answer.headers), b"".join(parts))

    async def streamed(self, target: str, headers: Headers, body: bytes) -> AsyncIterator[Streamed]:
        """Give the answer."""
        answer = await self.send(target, headers, body)
        try:
            yield Streamed(answer.status, passed(answer.headers), _read(answer))
        finally:
            answer.release()


async def _read(answer: UpstreamResponse) -> AsyncIterator[bytes]:
    while chunk := await answer.read():
        yield chunk


class AiohttpClient:
    """aiohttp's session, without what it may do to a body."""

    def __init__(self, upstream: int) -> None:
        # Installed beside the project, so neither imported nor typed where it is not.
        aiohttp = importlib.import_module("aiohttp")
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._session: Any = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        self._base = f"http://127.0.0.1:{upstream}"

    def _post(self, target: str, headers: Headers, body: bytes) -> Any:
        fields = [(name.decode(), value.decode("latin-1")) for name, value in passed(headers)]
        return self._session.post(self._base + target, data=body, headers=fields)

    async def plain(self, target: str, headers: Headers, body: bytes) -> Plain:
        """Return the whole answer."""
        async with self._post(target, headers, body) as answer:
            return Plain(answer.status, passed(answer.raw_headers), await answer.read())

    async def streamed(self, target: str, headers: Headers, body: bytes) -> AsyncIterator[Streamed]:
        """Give the answer."""
        async with self._post(target, headers, body) as answer:
            yield Streamed(answer.status, passed(answer.raw_headers), answer.content.iter_any())


class PyreqwestClient:
    """pyreqwest's client: reqwest (Rust) on a runtime of its own thread."""

    def __init__(self, upstream: int) -> None:
        # Installed beside the project, so neither imported nor typed where it is not.
        library = importlib.import_module("pyreqwest.client")
        builder = library.ClientBuilder().http1_only().gzip(enable=False).brotli(enable=False)
        self._client: Any = builder.zstd(enable=False).deflate(enable=False).build()
        self._base = f"http://127.0.0.1:{upstream}"

    def _post(self, target: str, headers: Headers, body: bytes) -> Any:
        fields = [(name.decode(), value.decode("latin-1")) for name, value in passed(headers)]
        return self._client.post(self._base + target).headers(fields).body_bytes(body)

    async def plain(self, target: str, headers: Headers, body: bytes) -> Plain:
        """Return the whole answer."""
        answer = await self._post(target, headers, body).build().send()
        return Plain(answer.status, _fields(answer), bytes(await answer.bytes()))

    async def streamed(self, target: str, headers: Headers, body: bytes) -> AsyncIterator[Streamed]:
        """Give the answer."""
        async with self._post(target, headers, body).build_streamed() as answer:
            yield Streamed(answer.status, _fields(answer), _read_chunks(answer.body_reader))


def _fields(answer: Any) -> Headers:
    return passed([(name.encode(), value.encode()) for name, value in answer.headers.items()])


async def _read_chunks(reader: Any) -> AsyncIterator[bytes]:
    while (chunk := await reader.read_chunk()) is not None:
        yield bytes(chunk)


def own_handler(client: Client) -> Callable[[Exchange], Awaitable[None]]:
    """Return the handler of our own server."""

    async def handle(exchange: Exchange) -> None:
        body = await exchange.body()
        if STREAM not in body:
            answer = await client.plain(exchange.path, exchange.headers, body)
            exchange.start(answer.status, answer.headers, length=len(answer.body))
            exchange.finish(answer.body)
        elif isinstance(client, OwnClient):
            await _pump(client, exchange, body)
        else:
            async for coming in client.streamed(exchange.path, exchange.headers, body):
                exchange.start(coming.status, coming.headers)
                async for chunk in coming.chunks:
                    if not exchange.write(chunk):
                        await exchange.drain()
            exchange.finish()

    return handle


async def _pump(client: OwnClient, exchange: Exchange, body: bytes) -> None:
    answer = await client.send(exchange.path, exchange.headers, body)
    try:
        exchange.start(answer.status, passed(answer.headers))

        def sink(chunk: bytes) -> bool:
            if exchange.write(chunk):
                return True
            exchange.when_writable(answer.resume)
            return False

        await answer.pump(sink)
        exchange.finish()
    finally:
        answer.release()


def asgi_app(make: Callable[[], Client]) -> Callable[..., Awaitable[None]]:
    """Return a raw ASGI application; its client is made in the server's loop."""
    clients: list[Client] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not clients:
            clients.append(make())
        client, path, headers = clients[0], scope["path"], scope["headers"]
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        if STREAM not in body:
            answer = await client.plain(path, headers, body)
            fields = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
            await send(_start(answer.status, fields))
            await send({"type": "http.response.body", "body": answer.body})
            return
        async for coming in client.streamed(path, headers, body):
            await send(_start(coming.status, coming.headers))
            async for chunk in coming.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def _start(status: int, headers: Headers) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


CLIENTS: dict[str, Callable[[int], Client]] = {
    "own": OwnClient,
    "pyreqwest": PyreqwestClient,
    "aiohttp": AiohttpClient,
}
SERVERS = ("own", "uvicorn")


async def serve_own(client: str, port: int, upstream: int) -> None:
    """Serve with `gateway.server` until killed."""
    handler = own_handler(CLIENTS[client](upstream))
    server = Server(handler, limits=LimitsConfig(), clock=SystemClock())
    await server.start([socket.create_server(("127.0.0.1", port), backlog=1024)])
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    options = parser.parse_args()
    if options.server == "own":
        uvloop.run(serve_own(options.client, options.port, options.upstream))
        return
    uvicorn.run(
        asgi_app(lambda: CLIENTS[options.client](options.upstream)),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        date_header=True,
        server_header=False,
    )


if __name__ == "__main__":
    main()
