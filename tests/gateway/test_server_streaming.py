import asyncio
import time

import pytest
from support.raw_client import echo, run, serving, until

from gateway.exchange import Exchange

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"


def _post(body: bytes, *, chunked: bool = False) -> bytes:
    if chunked:
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return b"POST / HTTP/1.1\r\nHost: h\r\n" + framed


async def _parts(exchange: Exchange) -> None:
    """Answer with the declared length, how many bytes came and in at least how many parts."""
    total = parts = 0
    while part := await exchange.read():
        total += len(part)
        parts += 1
    exchange.start(200, [])
    exchange.finish(b"%a %d %d" % (exchange.body_length, total, min(parts, 2)))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (GET, b"0 0 0"),
        (_post(b""), b"0 0 0"),
        (_post(b"abc"), b"3 3 1"),
        (_post(b"x" * 500_000), b"500000 500000 2"),
        (_post(b"x" * 500_000, chunked=True), b"None 500000 2"),
    ],
    ids=["none", "empty", "short", "sized", "chunked"],
)
def test_a_body_is_read_part_by_part(sent: bytes, said: bytes) -> None:
    """`read` gives every byte once, then b""; `body_length` is what was declared."""

    async def scenario() -> None:
        async with serving(_parts) as served:
            client = await served.client()
            for _ in range(2):
                assert (await client.ask(sent)).body == said

    run(scenario())


def test_a_part_is_given_before_the_body_is_complete() -> None:
    """What has arrived can be passed on while the client is still sending."""
    seen: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        while part := await exchange.read():
            seen.append(part)
        exchange.start(200, [])
        exchange.finish()

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            sent = _post(b"onetwo")
            await client.send(sent[:-3])
            await until(lambda: seen == [b"one"])
            assert (await client.ask(sent[-3:])).status == 200
            assert seen == [b"one", b"two"]

    run(scenario())


def test_a_reader_that_stops_reading_stops_the_client() -> None:
    """Only a little more is taken from the client than was asked for."""
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        total = len(await exchange.read())
        await go_on.wait()
        while part := await exchange.read():
            total += len(part)
        exchange.start(200, [])
        exchange.finish(b"%d" % total)

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            client.writer.write(_post(b"x" * 30_000_000))
            await asyncio.sleep(0.2)
            assert client.writer.transport.get_write_buffer_size() > 10_000_000
            go_on.set()
            assert (await client.answer()).body == b"30000000"

    run(scenario())


def test_a_body_passed_on_has_a_bound_of_its_own() -> None:
    """`stream_bytes` bounds what `read` gives, `body_bytes` does not."""

    async def scenario() -> None:
        async with serving(_parts, body_bytes=1024, stream_bytes=100_000) as served:
            assert (await served.ask(_post(b"x" * 90_000))).status == 200
            for chunked in (False, True):
                answer = await served.ask(_post(b"x" * 3_000_000, chunked=chunked))
                assert answer.status == 413
                assert "gateway.limits.stream_bytes" in answer.error["message"]

    run(scenario())


def test_a_body_passed_on_that_drips_is_408() -> None:
    """Single bytes do not buy time: 64 KiB have to arrive within `body_timeout`."""

    async def scenario() -> None:
        async with serving(_parts, body_timeout="300ms") as served:
            client = await served.client()
            await client.send(_post(b"x" * 100)[:-100])
            began_s = time.monotonic()

            async def drip() -> None:
                for _ in range(100):
                    await client.send(b"x")
                    await asyncio.sleep(0.05)

            dripping = asyncio.ensure_future(drip())
            answer = await client.answer()
            assert (answer.status, answer.error["code"]) == (408, "request_timeout")
            assert time.monotonic() - began_s < 1.5
            dripping.cancel()

    run(scenario())


def test_the_time_a_handler_takes_between_parts_is_not_the_clients() -> None:
    """A body that has arrived is not timed out because the handler reads it slowly."""

    async def slow(exchange: Exchange) -> None:
        total = 0
        while part := await exchange.read():
            total += len(part)
            await asyncio.sleep(0.1)
        exchange.start(200, [])
        exchange.finish(b"%d" % total)

    async def scenario() -> None:
        async with serving(slow, body_timeout="200ms") as served:
            assert (await served.ask(_post(b"x" * 800_000))).body == b"800000"

    run(scenario())


def test_write_says_when_to_stop_and_calls_back_when_to_go_on() -> None:
    """A slow client makes `write` False; `when_writable` calls once when it has read."""
    refused: list[int] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        sent = 0
        for _ in range(50):
            while exchange.write(b"x" * 65_536):
                sent += 1
            refused.append(sent)
            writable = asyncio.Event()
            exchange.when_writable(writable.set)
            await writable.wait()
        exchange.finish()

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await until(lambda: len(refused) >= 1)
            await asyncio.sleep(0.1)
            assert len(refused) < 50
            assert (await client.answer()).body.strip(b"x") == b""
            assert len(refused) == 50

    run(scenario())


def test_when_writable_calls_back_when_the_client_leaves() -> None:
    """Whoever waits for room is told also when there will never be any."""
    called: list[bool] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        while exchange.write(b"x" * 65_536):
            pass
        exchange.when_writable(lambda: called.append(True))
        await asyncio.sleep(10)

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            await asyncio.sleep(0.1)
            client.writer.transport.abort()
            await until(lambda: called == [True])

    run(scenario())


async def _shout(exchange: Exchange) -> None:
    """Answer in the other protocol: what comes, in capitals, and a farewell."""
    assert exchange.upgrade == b"websocket"
    tunnel = exchange.switch([(b"sec-websocket-accept", b"yes")])
    while data := await tunnel.read():
        tunnel.write(data.upper())
        await tunnel.drain()
    tunnel.write(b"bye")
    tunnel.close()


def test_an_upgrade_hands_the_connection_over() -> None:
    """101 with Connection and Upgrade, then bytes both ways, then an orderly end."""

    async def scenario() -> None:
        async with serving(_shout) as served:
            client = await served.client()
            await client.send(UPGRADE + b"early")
            answer = await client.answer(head_only=True)
            assert (answer.status, answer.headers["upgrade"]) == (101, "websocket")
            assert answer.headers["connection"] == "Upgrade"
            assert answer.headers["sec-websocket-accept"] == "yes"
            assert await client.within(client.reader.readexactly(5)) == b"EARLY"
            await client.send(b"late")
            assert await client.within(client.reader.readexactly(4)) == b"LATE"
            client.writer.write_eof()
            assert await client.within(client.reader.read()) == b"bye"
            await until(lambda: served.server.statistics().connections == 0)

    run(scenario())


def test_a_tunnel_carries_more_than_it_holds() -> None:
    """Megabytes in both directions arrive whole, with back-pressure both ways."""
    many = bytes(range(97, 123)) * 200_000

    async def scenario() -> None:
        async with serving(_shout) as served:
            client = await served.client()
            await client.send(UPGRADE)
            await client.answer(head_only=True)
            sending = asyncio.ensure_future(client.send(many))
            assert await client.within(client.reader.readexactly(len(many))) == many.upper()
            await sending

    run(scenario())


def test_the_end_of_a_tunnel_does_not_cancel_its_handler() -> None:
    """A client that is gone is the end of input; what the handler does then is its own."""
    ended: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        tunnel = exchange.switch([])
        ended.append(await tunnel.read())
        tunnel.write(b"dropped")
        await tunnel.drain()
        await asyncio.sleep(0.05)
        ended.append(b"done")

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(UPGRADE)
            await client.answer(head_only=True)
            client.writer.transport.abort()
            await until(lambda: ended == [b"", b"done"])
            assert served.server.statistics().disconnected_total == 0

    run(scenario())


def test_a_silent_tunnel_is_cut() -> None:
    """Nothing in either direction for `tunnel_idle` ends it; traffic keeps it."""

    async def scenario() -> None:
        async with serving(_shout, tunnel_idle="300ms", keep_alive="200ms") as served:
            client = await served.client()
            await client.send(UPGRADE)
            await client.answer(head_only=True)
            for _ in range(5):
                await client.send(b"x")
                assert await client.within(client.reader.readexactly(1)) == b"X"
                await asyncio.sleep(0.1)
            assert await client.at_end()

    run(scenario())


def test_shutting_down_waits_for_a_tunnel_then_cuts_it() -> None:
    """A tunnel is a request that runs: it is cut at the deadline and counted."""

    async def scenario() -> None:
        async with serving(_shout) as served:
            client = await served.client()
            await client.send(UPGRADE)
            await client.answer(head_only=True)
            assert await served.server.drain(0.2) == 1
            assert await client.at_end()

    run(scenario())


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade\r\nUpgrade: a, b\r\n",
        b"Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        b"Connection: keep-alive\r\nUpgrade: websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: web socket\r\n",
    ],
)
def test_an_unsound_upgrade_is_no_upgrade(fields: bytes) -> None:
    """Several protocols, a body or no Connection option: an ordinary request."""
    seen: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.upgrade)
        with pytest.raises(RuntimeError):
            exchange.switch([])
        await echo(exchange)

    async def scenario() -> None:
        async with serving(handler) as served:
            sent = b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"
            client = await served.client()
            body = b"x" if b"Length" in fields else b"0\r\n\r\n" if b"chunked" in fields else b""
            assert (await client.ask(sent + body)).status == 200
            assert seen == [b""]

    run(scenario())


def test_a_declined_upgrade_is_answered_and_nothing_after_it_is_read() -> None:
    """What follows could be the other protocol: it never becomes a request."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            answer = await client.ask(UPGRADE + GET)
            assert (answer.body, answer.headers["connection"]) == (b"GET /ws?|", "close")
            assert await client.at_end()
            assert served.server.statistics().requests_total == 1

    run(scenario())


@pytest.mark.parametrize("cut", [0, 20, 60], ids=["at once", "in the first", "in the second"])
def test_an_upgrade_behind_another_request_waits_for_its_turn(cut: int) -> None:
    """The first is answered, then the connection is handed over with all that came early."""

    async def either(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await (_shout(exchange) if exchange.upgrade else echo(exchange))

    async def scenario() -> None:
        async with serving(either) as served:
            client = await served.client()
            sent = GET + UPGRADE + b"early"
            await client.send(sent[:cut])
            await asyncio.sleep(0.01)
            await client.send(sent[cut:])
            assert (await client.answer()).body == b"GET /?|"
            assert (await client.answer(head_only=True)).status == 101
            assert await client.within(client.reader.readexactly(5)) == b"EARLY"

    run(scenario())


def test_what_comes_early_for_a_tunnel_is_bounded() -> None:
    """Before the handler switches, no more than a little of the other protocol is read."""
    go_on = asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await go_on.wait()
        await _shout(exchange)

    async def scenario() -> None:
        async with serving(late) as served:
            client = await served.client()
            client.writer.write(UPGRADE + b"x" * 20_000_000)
            await asyncio.sleep(0.2)
            assert client.writer.transport.get_write_buffer_size() > 5_000_000
            go_on.set()
            assert (await client.answer(head_only=True)).status == 101
            whole = client.reader.readexactly(20_000_000)
            assert await client.within(whole) == b"X" * 20_000_000

    run(scenario())
