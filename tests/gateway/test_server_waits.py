import asyncio
import socket
import time

import pytest
from support.raw_client import RawClient, echo, run, serving, until

from gateway.connection import Connection
from gateway.exchange import Exchange

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SHORT = {"header_timeout": "200ms", "body_timeout": "200ms", "keep_alive": "200ms"}


class Watched:
    """A handler that waits and tells how it ended."""

    def __init__(self, *, streams: bool = False) -> None:
        self.streams = streams
        self.started = asyncio.Event()
        self.ended: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Wait for `release`, then answer."""
        if self.streams:
            exchange.start(200, [])
            exchange.write(b"first")
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("released")
        if not self.streams:
            exchange.start(200, [])
        exchange.finish(b"done")


def test_a_head_that_drips_is_408() -> None:
    """A head that does not end within `header_timeout` is told so, however it drips."""

    async def scenario() -> None:
        async with serving(echo, **SHORT) as served:
            client = await served.client()
            began_s = time.monotonic()

            async def drip() -> None:
                for byte in GET:
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.05)

            dripping = asyncio.ensure_future(drip())
            answer = await client.answer()
            assert (answer.status, answer.error["code"]) == (408, "request_timeout")
            assert time.monotonic() - began_s < 1.0
            dripping.cancel()

    run(scenario())


@pytest.mark.parametrize("before", [b"", b"\r\n", GET], ids=["new", "line breaks", "kept alive"])
def test_an_idle_connection_is_closed_silently(before: bytes) -> None:
    """No byte of a request, or none after the last answer: closed without an answer."""

    async def scenario() -> None:
        async with serving(echo, **SHORT) as served:
            client = await served.client()
            await client.send(before)
            if before == GET:
                assert (await client.answer()).status == 200
            assert await client.at_end()

    run(scenario())


def test_a_body_that_drips_is_408() -> None:
    """A body that does not end within `body_timeout` is told so and the connection closed."""

    async def scenario() -> None:
        async with serving(echo, **SHORT) as served:
            client = await served.client()
            answer = await client.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab")
            assert (answer.status, answer.error["code"]) == (408, "request_timeout")
            assert await client.at_end()

    run(scenario())


def test_a_running_request_has_no_deadline_of_ours() -> None:
    """The time a handler takes is not bounded by the receive timeouts."""

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await echo(exchange)

    async def scenario() -> None:
        async with serving(slow, **SHORT) as served:
            assert (await served.ask(GET)).status == 200

    run(scenario())


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_cancels_the_handler(how: str, streams: bool) -> None:  # noqa: FBT001
    """Within a second, for plain answers and streams, for FIN and RST."""

    async def scenario() -> None:
        handler = Watched(streams=streams)
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            await handler.started.wait()
            if how == "reset":
                client.writer.transport.abort()
            await client.close()
            await until(lambda: handler.ended == ["cancelled"], timeout_s=1.0)
            assert served.server.statistics().disconnected_total == 1

    run(scenario())


def test_a_client_that_leaves_while_sending_cancels_the_handler() -> None:
    """The end of input in the middle of a body is a client that is gone."""

    async def scenario() -> None:
        handler = Watched()
        async with serving(handler) as served:
            client = await served.client()
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab")
            await handler.started.wait()
            await client.close()
            await until(lambda: handler.ended == ["cancelled"], timeout_s=1.0)

    run(scenario())


def test_a_half_closed_client_is_answered() -> None:
    """A client that sends no more but reads gets an interim response, and its answer."""

    async def scenario() -> None:
        handler = Watched()
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            await handler.started.wait()
            client.writer.write_eof()
            assert (await client.answer(head_only=True)).status == 100
            await asyncio.sleep(0.2)
            handler.release.set()
            assert (await client.answer()).body == b"done"
            assert await client.at_end()

    run(scenario())


def test_a_client_that_leaves_after_the_answer_cancels_nothing() -> None:
    """What a handler does after `finish` is not cut short by the client."""
    ended: list[bool] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.finish(b"x")
        await asyncio.sleep(0.1)
        ended.append(True)

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.ask(GET)
            client.writer.transport.abort()
            await until(lambda: ended == [True])

    run(scenario())


async def _silent_reader(address: tuple[str, int]) -> tuple[RawClient, socket.socket]:
    """Connect with a small receive buffer and read nothing."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, address)
    reader, writer = await asyncio.open_connection(sock=peer, limit=1_024)
    return RawClient(reader, writer), peer


def test_a_client_that_does_not_read_holds_the_handler_then_is_cut() -> None:
    """`drain` stops the handler near the high-water mark; no progress ends the connection."""
    written: list[int] = []

    async def endless(exchange: Exchange) -> None:
        exchange.start(200, [])
        while True:
            exchange.write(b"x" * 65_536)
            written.append(65_536)
            await exchange.drain()

    async def scenario() -> None:
        async with serving(endless, body_timeout="500ms") as served:
            client, _ = await _silent_reader(served.address)
            served.clients.append(client)
            await client.send(GET)
            await asyncio.sleep(0.3)
            held = sum(written)
            assert served.server.statistics().in_flight == 1
            await until(lambda: served.server.statistics().in_flight == 0)
            assert sum(written) == held
            # Kernel buffers of loopback take a few MiB, the transport a quarter.
            assert held < 16 * 1_048_576

    run(scenario())


def test_a_slow_reader_gets_everything() -> None:
    """A client that pauses and then reads on receives every byte of a long answer."""
    part = bytes(range(256)) * 256

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [], length=100 * len(part))
        for _ in range(99):
            exchange.write(part)
            await exchange.drain()
        exchange.finish(part)

    async def scenario() -> None:
        async with serving(handler) as served:
            client, _ = await _silent_reader(served.address)
            served.clients.append(client)
            await client.send(GET)
            await asyncio.sleep(0.1)
            assert (await client.answer()).body == part * 100

    run(scenario())


def test_a_body_nobody_asks_for_is_not_read() -> None:
    """Until `body` is called only a little of a large body is taken from the client."""

    async def scenario() -> None:
        handler = Watched()
        async with serving(handler) as served:
            client = await served.client()
            client.writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n")
            client.writer.write(b"x" * 30_000_000)
            await asyncio.sleep(0.2)
            assert client.writer.transport.get_write_buffer_size() > 10_000_000
            handler.release.set()
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    run(scenario())


def test_drain_closes_idle_connections_and_finishes_running_requests() -> None:
    """Idle ones go at once, a running one is answered with `Connection: close`, none is lost."""

    async def scenario() -> None:
        handler = Watched()
        async with serving(handler) as served:
            handler.release.set()
            idle, busy = await served.client(), await served.client()
            assert (await idle.ask(GET)).status == 200
            handler.release.clear()
            handler.started.clear()
            await busy.send(GET)
            await handler.started.wait()
            draining = asyncio.ensure_future(served.server.drain(3.0))
            assert await idle.at_end()
            with pytest.raises(ConnectionRefusedError):
                await served.client()
            handler.release.set()
            answer = await busy.answer()
            assert (answer.body, answer.headers["connection"]) == (b"done", "close")
            assert await draining == 0

    run(scenario())


def test_drain_answers_a_connection_that_was_just_made() -> None:
    """A request that arrives just after the drain began, on a new connection, is served."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            await until(lambda: served.server.statistics().connections == 1)
            draining = asyncio.ensure_future(served.server.drain(3.0))
            await asyncio.sleep(0.05)
            assert (await client.ask(GET)).headers["connection"] == "close"
            assert await draining == 0

    run(scenario())


def test_drain_cuts_what_is_still_running_and_counts_it() -> None:
    """At the deadline handlers are cancelled and their number is returned."""

    async def scenario() -> None:
        handler = Watched()
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            await handler.started.wait()
            assert await served.server.drain(0.1) == 1
            assert handler.ended == ["cancelled"]
            assert await client.at_end()

    run(scenario())


def test_small_writes_leave_at_once() -> None:
    """Nagle's algorithm is off: a token is not held back for the acknowledgement of the last."""
    seen: list[int] = []

    async def scenario() -> None:
        async with serving(echo) as served:
            await served.ask(GET)
            for connection in served.server._shared.connections:
                assert isinstance(connection, Connection)
                peer = connection._transport.get_extra_info("socket")
                seen.append(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            assert seen == [1]

    run(scenario())
