"""Requests in a row, whatever the order in which bytes come and answers are given."""

import asyncio
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import Served, run, serving, until
from support.wild_answers import CUTS, chunked

from gateway.config import LimitsConfig
from gateway.connection import Connection
from gateway.exchange import Exchange
from gateway.response_head import ResponseHeads, openai_error
from gateway.server_state import Shared
from router.clock import SystemClock

SIZES = st.sampled_from([0, 1, 20, 300, 5_000, 17_000, 40_000, 100_000])
ORDERS = st.lists(st.sampled_from(["bytes", "bytes", "answer"]), max_size=40)


class Sent(NamedTuple):
    """A request, and how its handler reads it."""

    size_bytes: int
    chunks: tuple[int, ...]
    reading: str

    def body(self, number: int) -> bytes:
        """Return bytes that no other request of the row has."""
        return (b"<%d>" % number * (self.size_bytes // 3 + 1))[: self.size_bytes]

    def on_wire(self, number: int) -> bytes:
        """Return head and body."""
        body, head = self.body(number), b"POST /%d HTTP/1.1\r\nHost: h\r\n" % number
        if self.chunks:
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, self.chunks)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Handled:
    """A handler that answers when it is told; what it saw, in order."""

    def __init__(self, row: list[Sent]) -> None:
        self.row = row
        self.seen: list[tuple[str, bytes]] = []
        self.turns = asyncio.Semaphore(0)

    async def __call__(self, exchange: Exchange) -> None:
        """Read the body as the row says, wait, answer."""
        sent = self.row[int(exchange.path[1:])]
        if sent.reading == "late":
            await self.turns.acquire()
        if sent.reading == "parts":
            body = b""
            while part := await exchange.read():
                body += part
        else:
            body = await exchange.body()
        if sent.reading != "late":
            await self.turns.acquire()
        self.seen.append((exchange.path, body))
        exchange.start(200, [], length=len(exchange.path))
        exchange.finish(exchange.path.encode())


class Script(asyncio.Transport):
    """A transport whose client sends the pieces when told, unless reading is paused."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.pieces = pieces
        self.written = b""
        self.paused = self.closed = False

    def deliver(self, connection: Connection) -> None:
        """Hand the next piece over as a real transport would."""
        if self.pieces and not self.paused:
            connection.data_received(self.pieces.pop(0))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take what is written at once."""

    def write(self, data: Any) -> None:
        """Keep what the client would read."""
        self.written += data

    def pause_reading(self) -> None:
        """Deliver nothing for now."""
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        """Deliver again."""
        assert self.paused
        self.paused = False

    def close(self) -> None:
        """Note that the connection was closed."""
        self.closed = True


@settings(max_examples=150, deadline=None)
@given(
    row=st.lists(
        st.builds(
            Sent,
            SIZES,
            st.lists(st.integers(1, 9_000), max_size=3).map(tuple),
            st.sampled_from(["whole", "parts", "late"]),
        ),
        min_size=2,
        max_size=5,
    ),
    cuts=CUTS,
    order=ORDERS,
    inside=st.lists(st.integers(0, 60), max_size=4),
)
def test_any_order_of_bytes_and_answers(
    row: list[Sent], cuts: tuple[int, ...], order: list[str], inside: list[int]
) -> None:
    """Each request gets its own body, complete and in order, and the answers follow suit."""
    wire = [sent.on_wire(number) for number, sent in enumerate(row)]
    whole, starts = b"".join(wire), [sum(map(len, wire[:n])) for n in range(len(wire))]
    # Cuts shortly behind where a request begins are those that leave a part of it to be held.
    places = {cut % len(whole) for cut in cuts} | {
        (start + 40 + more) % len(whole) for start, more in zip(starts, inside, strict=False)
    }
    edges = [0, *sorted(places - {0}), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]

    async def scenario() -> None:
        handled, clock = Handled(row), SystemClock()
        loop = asyncio.get_running_loop()
        shared = Shared(handled, LimitsConfig(), clock, openai_error, ResponseHeads(clock), loop)
        connection, script = Connection(shared), Script(pieces)
        connection.connection_made(script)
        # Delivering all and answering all, often enough, must end any row.
        for step in [*order, *["bytes", "answer"] * (len(pieces) + 2 * len(row))]:
            if step == "bytes":
                script.deliver(connection)
            elif handled.turns.locked():
                handled.turns.release()
            for _ in range(4):
                await asyncio.sleep(0)
        assert handled.seen == [(f"/{n}", sent.body(n)) for n, sent in enumerate(row)]
        answers = script.written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        assert [part[-2:] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"/%d" % number for number in range(len(row))
        ]
        assert not script.closed
        assert not connection.eof_received()
        connection.connection_lost(None)

    asyncio.run(scenario())


def test_a_client_that_ends_within_a_waiting_body_is_refused() -> None:
    """A half-close within the second body leaves the first its answer; the second gets 400."""
    release = asyncio.Event()

    async def slow_first(exchange: Exchange) -> None:
        if exchange.path == "/0":
            await release.wait()
        body = await exchange.body()
        exchange.start(200, [])
        exchange.finish(body)

    async def scenario(served: Served) -> None:
        client = await served.client()
        first = b"POST /0 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none"
        await client.send(first + b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\ntwo")
        client.writer.write_eof()
        await until(lambda: served.server.statistics().requests_total == 1)
        await asyncio.sleep(0.02)
        release.set()
        # Whether the client still reads was asked by interim answers.
        while (told := await client.within(client.reader.readuntil(b"\r\n\r\n"))).find(
            b" 100 "
        ) > 0:
            pass
        assert told.startswith(b"HTTP/1.1 200")
        assert await client.within(client.reader.readexactly(3)) == b"one"
        refused = await client.answer()
        assert refused.status == 400
        assert "ended its input" in refused.error["message"]
        assert await client.at_end()

    async def served_scenario() -> None:
        async with serving(slow_first) as served:
            await scenario(served)

    run(served_scenario())
