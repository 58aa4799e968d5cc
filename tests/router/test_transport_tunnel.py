"""Connections that change to another protocol."""

import asyncio

import pytest
from support.fake_upstream import FakeUpstream
from support.raw_server import raw_server, read_head
from support.transport_kit import LOOPS, Run, chat, client, fault_of, fetch, read_all, run_on

from router.errors import Reason, UpstreamFault
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
CALL = UpstreamRequest(b"GET", b"/realtime?model=m", [(b"X-A", b"1")], upgrade=b"websocket")


def test_both_directions_go_through(run: Run) -> None:
    """After 101 bytes pass both ways; those that came with the head are the first."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(SWITCH + b"hello")
        while data := await reader.read(1000):
            writer.write(data.upper())

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            assert response.status == 101
            tunnel = response.tunnel()
            assert await tunnel.read() == b"hello"
            tunnel.write(b"ping")
            await tunnel.drain()
            assert await tunnel.read() == b"PING"
            tunnel.close()
            tunnel.close()
            response.release()
            assert await tunnel.read() == b""
            tunnel.write(b"too late")
            assert upstream.statistics() == (0, 0, 0)
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in heads[0]
        assert heads[0].startswith(b"GET /v1/realtime?model=m HTTP/1.1\r\n")
        assert b"content-length" not in heads[0].lower()

    run(scenario())


def test_what_was_written_is_sent_before_the_end(run: Run) -> None:
    """`close`, then `release`: the peer gets everything."""
    received = asyncio.Queue[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await asyncio.sleep(0.1)
        received.put_nowait(len(await reader.read()))

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            tunnel = response.tunnel()
            tunnel.write(bytes(10_000_000))
            tunnel.close()
            response.release()
            assert await received.get() == 10_000_000

    run(scenario())


def test_the_peers_end_is_read_as_the_end(run: Run) -> None:
    """When the upstream hangs up, or resets, `read` returns b"" for ever and `drain` returns."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + b"bye")

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            tunnel = response.tunnel()
            parts = [await tunnel.read() for _ in range(3)]
            assert parts == [b"bye", b"", b""]
            await tunnel.drain()
            tunnel.abort()
            response.release()
            assert upstream.statistics() == (0, 0, 0)

    run(scenario())


def test_a_slow_peer_makes_drain_wait(run: Run) -> None:
    """`drain` waits while the upstream takes nothing; `abort` lets it return."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            tunnel = response.tunnel()
            tunnel.write(bytes(30_000_000))
            async with asyncio.TaskGroup() as group:
                draining = group.create_task(tunnel.drain())
                await asyncio.sleep(0.1)
                assert not draining.done()
                tunnel.abort()
            response.release()

    run(scenario())


def test_a_reader_that_stops_never_grows_memory(run: Run) -> None:
    """A fast upstream is slowed down once 256 KiB wait in the tunnel."""
    sent_bytes = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await read_head(reader)
        writer.write(SWITCH)
        for _ in range(500):
            writer.write(bytes(100_000))
            sent_bytes += 100_000
            await writer.drain()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            tunnel = response.tunnel()
            await asyncio.sleep(0.3)
            stalled_at = sent_bytes
            await asyncio.sleep(0.1)
            assert sent_bytes == stalled_at < 20_000_000
            received = 0
            while data := await tunnel.read():
                received += len(data)
            assert received == 50_000_000
            response.release()

    run(scenario())


def test_an_ordinary_answer_to_an_upgrade_is_one(run: Run) -> None:
    """A server that stays with HTTP is read as ever, and its connection is kept."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await reader.read()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            assert response.status == 200
            with pytest.raises(UpstreamFault, match="did not change the protocol"):
                response.tunnel()
            assert await read_all(response) == b"hi"
            assert upstream.statistics() == (0, 1, 0)

    run(scenario())


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_another_change_than_the_one_asked_for_is_invalid(run: Run, head: bytes) -> None:
    """A 101 to another protocol, or one without its fields, is bad framing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(head)

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            fault = await fault_of(upstream, CALL)
            assert fault.reason is Reason.UPSTREAM_INVALID
            assert upstream.statistics() == (0, 0, 0)

    run(scenario())


def test_a_tunnel_left_open_is_cut_with_its_answer(run: Run) -> None:
    """`release` without `close` ends the connection at once; the slot is free."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        try:
            await reader.read()
        finally:
            ended.set()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(CALL, connect_timeout_s=2)
            assert upstream.statistics() == (1, 0, 0)
            response.release()
            assert upstream.statistics() == (0, 0, 0)
            await ended.wait()

    run(scenario())


def test_the_protocol_asked_for_cannot_carry_fields(run: Run) -> None:
    """An upgrade token with a line break never leaves."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            call = UpstreamRequest(b"GET", b"/realtime", [], upgrade=b"x\r\nA: b")
            fault = await fault_of(upstream, call)
            assert (fault.reason, fault.sent) == (Reason.INVALID_REQUEST, False)
            assert await fetch(upstream, chat())

    with FakeUpstream() as fake:
        run(scenario(fake))
