import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from support.raw_client import Answer, echo, run, serving, until

from gateway.config import LimitsConfig
from gateway.errors import ModelNotFound
from gateway.exchange import Exchange
from gateway.response_head import Refusal
from gateway.server import Server
from router.clock import SystemClock

GET = b"GET /a%20b?q=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def _post(body: bytes, *fields: bytes) -> bytes:
    lines = (b"POST /p HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_answers_and_keeps_the_connection() -> None:
    """Two requests one after the other are answered on one connection, with path and query."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            first, second = await client.ask(GET), await client.ask(_post(b"hello"))
            assert (first.status, first.body) == (200, b"GET /a%20b?q=1|")
            assert second.body == b"POST /p?|hello"
            assert "connection" not in first.headers
            assert first.headers["date"].endswith("GMT")
            assert served.server.statistics().accepted_total == 1

    run(scenario())


def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent at once are answered one by one, in their order, one handler at a time."""
    running: list[int] = []

    async def slow_first(exchange: Exchange) -> None:
        running.append(1)
        assert len(running) == 1
        await asyncio.sleep(0.02 if exchange.path == "/0" else 0)
        running.pop()
        await echo(exchange)

    async def scenario() -> None:
        async with serving(slow_first) as served:
            client = await served.client()
            await client.send(
                b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5))
            )
            bodies = [(await client.answer()).body for _ in range(5)]
            assert bodies == [b"GET /%d?|" % n for n in range(5)]

    run(scenario())


def test_a_flood_of_pipelined_requests_is_answered_completely() -> None:
    """More requests than are parsed ahead, split anywhere, all get their answer."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            many = b"".join(_post(b"%d" % n) for n in range(3_000))
            sending = asyncio.ensure_future(client.send(many))
            for n in range(3_000):
                assert (await client.answer()).body == b"POST /p?|%d" % n
            await sending

    run(scenario())


def test_a_request_may_arrive_byte_by_byte() -> None:
    """Every split of head and body is read the same."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            client.writer.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )
            for byte in _post(b"drip", b"X-Y: z"):
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).body == b"POST /p?|drip"

    run(scenario())


def test_a_chunked_body_is_joined_and_its_trailers_dropped() -> None:
    """Chunks become one body; a trailer cannot pose as a header."""
    seen: list[bytes | None] = []

    async def handler(exchange: Exchange) -> None:
        body = await exchange.body()
        seen.append(exchange.header(b"authorization"))
        exchange.start(200, [])
        exchange.finish(body)

    async def scenario() -> None:
        async with serving(handler) as served:
            answer = await served.ask(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nAuthorization: evil\r\n\r\n"
            )
            assert answer.body == b"abcde"
            assert seen == [None]

    run(scenario())


@pytest.mark.parametrize(
    ("request_head", "connection"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close"),
        (b"GET / HTTP/1.0\r\n\r\n", "close"),
    ],
)
def test_the_connection_closes_when_the_client_wants_it(
    request_head: bytes, connection: str
) -> None:
    """`Connection: close` and plain HTTP/1.0 end the connection after the answer."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            answer = await client.ask(request_head)
            assert (answer.status, answer.headers["connection"]) == (200, connection)
            assert await client.at_end()

    run(scenario())


def test_http10_keeps_the_connection_if_asked() -> None:
    """HTTP/1.0 with keep-alive is told so and may ask again."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            for _ in range(2):
                answer = await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert answer.headers["connection"] == "keep-alive"

    run(scenario())


async def _two_parts(exchange: Exchange) -> None:
    exchange.start(200, [])
    exchange.write(b"one,")
    await exchange.drain()
    exchange.finish(b"two")


@pytest.mark.parametrize(
    ("version", "framing"), [(b"1.1", {"transfer-encoding": "chunked"}), (b"1.0", {})]
)
def test_an_answer_of_unknown_length_is_framed(version: bytes, framing: dict[str, str]) -> None:
    """HTTP/1.1 gets chunks, HTTP/1.0 an answer that ends with the connection."""

    async def scenario() -> None:
        async with serving(_two_parts) as served:
            answer = await served.ask(b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
            assert answer.body == b"one,two"
            known = ("transfer-encoding", "content-length")
            assert {k: v for k, v in answer.headers.items() if k in known} == framing

    run(scenario())


def test_head_and_first_chunk_leave_together() -> None:
    """The head and the first part of the body are one segment."""

    async def scenario() -> None:
        async with serving(_two_parts) as served:
            client = await served.client()
            await client.send(GET)
            first = await client.within(client.reader.read(65_536))
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\n\r\n4\r\none,\r\n" in first

    run(scenario())


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_answers_without_a_body_send_none(method: bytes, status: int) -> None:
    """HEAD, 204 and 304 have a head only, and the next answer is not confused by it."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(status, [])
        exchange.finish(b"never seen" if method == b"HEAD" else b"")

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            for _ in range(2):
                await client.send(b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method)
                answer = await client.answer(head_only=True)
                assert answer.status == status
                expected = "10" if method == b"HEAD" else None
                assert answer.headers.get("content-length") == expected

    run(scenario())


@pytest.mark.parametrize("length", [None, 42], ids=["unknown", "declared"])
def test_head_declares_only_what_get_would(length: int | None) -> None:
    """An answer to HEAD passes a declared length and makes none up."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(404, [], length=length)
        exchange.finish()

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            for _ in range(2):
                await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
                answer = await client.answer(head_only=True)
                assert answer.headers.get("content-length") == (length and str(length))
                assert "transfer-encoding" not in answer.headers

    run(scenario())


def test_expect_continue_is_sent_when_the_body_is_asked_for() -> None:
    """100 comes once the handler calls `body`, then the answer."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            await client.send(_post(b"hello", b"Expect: 100-Continue")[:-5])
            assert (await client.answer(head_only=True)).status == 100
            assert (await client.ask(b"hello")).body == b"POST /p?|hello"

    run(scenario())


def test_expect_continue_is_not_sent_to_a_refused_request() -> None:
    """A handler that refuses without the body spares the client sending it; then it closes."""

    async def refuse(exchange: Exchange) -> None:
        raise ModelNotFound("no route answers `x`")

    async def scenario() -> None:
        async with serving(refuse) as served:
            client = await served.client()
            answer = await client.ask(_post(b"hello", b"Expect: 100-continue")[:-5])
            assert (answer.status, answer.headers["connection"]) == (404, "close")
            assert answer.error["code"] == "model_not_found"
            assert await client.at_end()

    run(scenario())


def test_an_offered_upgrade_is_ignored() -> None:
    """`Upgrade: websocket` on a POST is answered as if it were not there, with its body."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            upgrade = _post(b"x" * 40_000, b"Upgrade: websocket", b"Connection: Upgrade")
            answer = await client.ask(upgrade)
            assert (answer.status, answer.body) == (200, b"POST /p?|" + b"x" * 40_000)
            assert await client.at_end()

    run(scenario())


def test_a_handler_that_fails_is_a_500_with_a_code(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is logged, told without its text, and the connection lives on."""

    async def broken(exchange: Exchange) -> None:
        await exchange.body()
        raise ZeroDivisionError("secret text")

    async def scenario() -> None:
        async with serving(broken) as served:
            client = await served.client()
            for _ in range(2):
                answer = await client.ask(_post(b"hello"))
                assert (answer.status, answer.error["code"]) == (500, "internal")
                assert b"secret" not in answer.body
            assert served.server.statistics().failed_total == 2

    run(scenario())
    assert "secret text" in caplog.text


@pytest.mark.parametrize("how", ["raise", "abort", "short", "silent", "split"])
def test_an_answer_that_cannot_be_completed_is_cut(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After the head, a failing handler cuts the connection instead of faking an end."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [], length=100 if how == "short" else None)
        exchange.write(b"part")
        await asyncio.sleep(0.01)
        if how == "raise":
            raise ZeroDivisionError
        if how == "abort":
            exchange.abort()
        if how == "short":
            exchange.finish(b"too little")
        if how == "split":
            raise ModelNotFound("too late to be told")

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            with contextlib.suppress(ConnectionResetError):
                told = await client.within(client.reader.read())
                assert b"part" in told  # What was written is not lost.
                assert not told.endswith(b"\r\n0\r\n\r\n")
            await until(lambda: served.server.statistics().connections == 0)

    run(scenario())


def test_http10_tells_a_cut_answer_from_a_complete_one() -> None:
    """An answer that ends with the connection is cut by a reset, not by a close."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"part")
        await asyncio.sleep(0.01)
        exchange.abort()

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await client.within(client.reader.read())

    run(scenario())


def test_a_response_header_cannot_split_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A line break in a response header is our failure, never two answers."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [(b"x-echo", b"a\r\nset-cookie: evil")])
        exchange.finish(b"ok")

    async def scenario() -> None:
        async with serving(handler) as served:
            client = await served.client()
            await client.send(GET)
            assert await client.at_end()

    run(scenario())
    assert "line break" in caplog.text


def test_serves_a_unix_socket(tmp_path: Path) -> None:
    """The same server answers on a Unix socket, with an empty client address."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.finish(b"client=" + exchange.client.encode())

    async def scenario() -> None:
        path = str(tmp_path / "s")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        server = Server(handler, limits=LimitsConfig(), clock=SystemClock())
        await server.start([listening])
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(7) == b"client="
        writer.close()
        await server.drain(1.0)

    run(scenario())


def test_errors_can_have_the_shape_of_another_protocol() -> None:
    """`server_error` writes the body of a refusal and knows the path it is for."""

    def shape(path: str, refusal: Refusal) -> bytes:
        return f"{path} {refusal.status}".encode()

    async def refuse(exchange: Exchange) -> None:
        raise ModelNotFound("no")

    async def scenario() -> Answer:
        async with serving(refuse) as served:
            served.server._shared.server_error = shape
            return await served.ask(b"GET /v1/messages HTTP/1.1\r\nHost: h\r\n\r\n")

    with asyncio.Runner() as runner:
        assert runner.run(scenario()).body == b"/v1/messages 404"
