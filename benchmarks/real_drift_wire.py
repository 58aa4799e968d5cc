"""A model server, a receiver of webhooks, and a paced client, in one event loop."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_HEAD = re.compile(rb"^(\w+) (\S+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ROW = re.compile(rb"\r\nx-row: *(\d+)", re.IGNORECASE)
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3})")
_END = b"\r\n\r\n"


class Hook(NamedTuple):
    """A webhook that came."""

    at_us: int
    body: dict[str, Any]


@dataclass
class Peers:
    """What stands around the gateway.

    Attributes
    ----------
    answers : dict of str to list of dict
        By model: its answer to each row, which a request names by `x-row`.
    hooks : list of Hook
        In the order in which they came.
    asked : int
        Rows that the models were asked about.
    """

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    asked: int = 0

    def answer(self, path: str, head: bytes, body: bytes) -> dict[str, Any]:
        """Answer one request: KServe's protocol v1, or a webhook."""
        if path == "/hook":
            self.hooks.append(Hook(time.time_ns() // 1000, json.loads(body)))
            return {}
        model = path.rpartition("/")[2].partition(":")[0]
        row = _ROW.search(head)
        assert row is not None
        rows = len(json.loads(body)["instances"])
        self.asked += rows
        start = int(row[1])
        return {"predictions": self.answers[model][start : start + rows]}


class _Server(asyncio.Protocol):
    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            head = self._buffer[: end + 2]
            length = _LENGTH.search(head)
            whole = end + len(_END) + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + len(_END) : whole], self._buffer[whole:]
            asked = _HEAD.match(head)
            assert asked is not None
            assert self._transport is not None
            found = json.dumps(self._peers.answer(asked[2].decode(), head, body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(found) + found
            )


async def serve(peers: Peers) -> tuple[asyncio.Server, int]:
    """Start the model server and receiver; return it and its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(peers), "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


@dataclass
class Sent:
    """When rows were sent: `at_us` and the first row of each request, both growing."""

    at_us: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    refused: int = 0


class Pace(NamedTuple):
    """How rows are sent: `rows_a_second` on average, so many a request."""

    rows_a_second: float
    rows_a_request: int


async def replay(
    port: int, model: str, rows: Sequence[dict[str, Any]], pace: Pace, first: int = 0
) -> Sent:
    """Ask a model about rows, in their order, at a steady pace; it never catches up in a burst."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop, sent, step = asyncio.get_running_loop(), Sent(), pace.rows_a_request
    due = loop.time()
    for start in range(0, len(rows), step):
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due, loop.time() - 1.0) + step / pace.rows_a_second
        body = json.dumps({"instances": rows[start : start + step]}).encode()
        sent.at_us.append(time.time_ns() // 1000)
        sent.rows.append(first + start)
        writer.write(
            b"POST /v1/models/%s:predict HTTP/1.1\r\nhost: gateway\r\n"
            b"content-type: application/json\r\nx-row: %d\r\ncontent-length: %d\r\n\r\n"
            % (model.encode(), first + start, len(body))
            + body
        )
        head = await reader.readuntil(_END)
        length = _LENGTH.search(head)
        status = _STATUS.match(head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        if status is None or status[1] != b"200":
            sent.refused += 1
    writer.close()
    return sent
