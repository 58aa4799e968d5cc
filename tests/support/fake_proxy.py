"""A forward proxy on this machine: CONNECT tunnels, and plain requests in absolute form."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.raw_server import raw_server, read_head


@dataclass(slots=True)
class FakeProxy:
    """What a proxy saw, and how it answers.

    Attributes
    ----------
    url : str
    heads : list of bytes
        The first head of each connection.
    connect_answer : bytes
        What CONNECT gets; nothing, and silence, when empty.
    """

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    connect_answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client; a plain connection carries one request's upstream only."""
        head = await read_head(reader)
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        if method == b"CONNECT":
            if not self.connect_answer:
                await reader.read()
            writer.write(self.connect_answer)
            if b" 200 " not in self.connect_answer:
                return
            host, _, port = target.rpartition(b":")
            first = b""
        else:
            parts = urlsplit(target.decode())
            host, port = (parts.hostname or "").encode(), b"%d" % (parts.port or 80)
            first = head.replace(target, (parts.path or "/").encode(), 1)
        await carry(reader, writer, host.decode(), int(port), first)


@asynccontextmanager
async def fake_proxy() -> AsyncIterator[FakeProxy]:
    """Run a proxy on the running loop."""
    proxy = FakeProxy()
    async with raw_server(proxy.serve) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy


async def carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    first: bytes = b"",
) -> None:
    """Connect to a host, send it the first bytes, and copy both ways until both have ended."""
    up_reader, up_writer = await asyncio.open_connection(host, port)
    try:
        up_writer.write(first)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, up_writer))
            group.create_task(_copy(up_reader, writer))
    finally:
        up_writer.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        return
    finally:
        target.close()
