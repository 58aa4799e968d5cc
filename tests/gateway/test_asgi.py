import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx2
import pytest
import uvicorn
from support.raw_client import RawClient, echo, run, until

from gateway.asgi import AsgiApp
from gateway.config import LimitsConfig
from gateway.errors import ModelNotFound
from gateway.exchange import Exchange, Handler
from router.clock import SystemClock

GET = b"GET /a%20b?q=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def _app(handler: Handler, **limits: Any) -> AsgiApp:
    return AsgiApp(handler, limits=LimitsConfig(**limits), clock=SystemClock())


@contextlib.asynccontextmanager
async def _uvicorn(app: AsgiApp) -> AsyncIterator[tuple[str, int]]:
    """Serve an application on a free port with uvicorn."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 5)


async def _client(address: tuple[str, int]) -> RawClient:
    return RawClient(*await asyncio.open_connection(*address))


def test_the_echo_is_the_same_under_uvicorn() -> None:
    """Method, encoded path, query and body arrive as they do in the gateway's own server."""

    async def scenario() -> None:
        async with _uvicorn(_app(echo)) as address:
            client = await _client(address)
            assert (await client.ask(GET)).body == b"GET /a%20b?q=1|"
            post = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
            assert (await client.ask(post)).body == b"POST /p?|hello"
            await client.close()

    run(scenario())


def test_the_echo_is_the_same_in_process() -> None:
    """httpx2 calls the application without a socket."""

    async def scenario() -> None:
        transport = httpx2.ASGITransport(_app(echo), client=("192.0.2.1", 9))
        async with httpx2.AsyncClient(transport=transport, base_url="http://h") as client:
            answer = await client.post("/p?q=1", content=b"x" * 500_000)
            assert answer.content == b"POST /p?q=1|" + b"x" * 500_000
            assert answer.headers["content-length"] == str(len(answer.content))

    run(scenario())


def test_a_stream_is_sent_as_it_is_written() -> None:
    """The first chunk arrives while the handler waits; the end is chunked framing's."""
    release = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [(b"Content-Type", b"text/event-stream")])
        exchange.write(b"one")
        await release.wait()
        exchange.finish(b"two")

    async def scenario() -> None:
        async with _uvicorn(_app(handler)) as address:
            client = await _client(address)
            await client.send(GET)
            head = await client.within(client.reader.readuntil(b"\r\n\r\n"))
            assert b"transfer-encoding: chunked" in head
            assert await client.within(client.reader.readexactly(8)) == b"3\r\none\r\n"
            release.set()
            assert await client.within(client.reader.readexactly(13)) == b"3\r\ntwo\r\n0\r\n\r\n"
            await client.close()

    run(scenario())


def test_a_body_is_read_part_by_part_under_uvicorn() -> None:
    """`read` gives all of a chunked body and then its end."""

    async def handler(exchange: Exchange) -> None:
        total = 0
        while part := await exchange.read():
            total += len(part)
        exchange.start(200, [])
        exchange.finish(b"%a %d" % (exchange.body_length, total))

    async def scenario() -> None:
        async with _uvicorn(_app(handler)) as address:
            client = await _client(address)
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (300_000, b"x" * 300_000)
            head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await client.ask(head + framed)).body == b"None 300000"
            await client.close()

    run(scenario())


@pytest.mark.parametrize(
    ("handler", "sent", "status", "code"),
    [
        ("refuse", b"", 404, "model_not_found"),
        ("broken", b"", 500, "internal"),
        ("echo", b"Content-Length: 5000\r\n\r\n" + b"x" * 5000, 413, "request_too_large"),
        ("echo", b"Content-Length: 50\r\n\r\nabc", 408, "request_timeout"),
    ],
)
def test_errors_have_the_shape_of_the_gateway(
    handler: str, sent: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refusals, failures, limits and timeouts are answered as by the gateway's own server."""

    async def answer(exchange: Exchange) -> None:
        if handler == "refuse":
            raise ModelNotFound("no route answers `x`")
        if handler == "broken":
            raise ZeroDivisionError("secret text")
        await echo(exchange)

    async def scenario() -> None:
        app = _app(answer, body_bytes=1024, body_timeout="200ms")
        async with _uvicorn(app) as address:
            client = await _client(address)
            told = await client.ask(b"POST / HTTP/1.1\r\nHost: h\r\n" + (sent or b"\r\n"))
            assert (told.status, told.error["code"]) == (status, code)
            assert b"secret" not in told.body
            await client.close()

    run(scenario())


def test_a_client_that_leaves_cancels_the_handler_under_uvicorn() -> None:
    """The disconnect of ASGI is the same cancellation."""
    ended: list[str] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def scenario() -> None:
        app = _app(handler)
        async with _uvicorn(app) as address:
            client = await _client(address)
            await client.send(GET)
            await client.within(client.reader.readuntil(b"\r\n\r\n"))
            await client.close()
            await until(lambda: ended == ["cancelled"] and app.in_flight == 0)

    run(scenario())


def test_an_aborted_answer_is_cut_under_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    """What was written arrives, the end of the chunks does not."""

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"part")
        exchange.abort()

    async def scenario() -> None:
        async with _uvicorn(_app(handler)) as address:
            client = await _client(address)
            await client.send(GET)
            told = await client.within(client.reader.read())
            assert b"part" in told
            assert not told.endswith(b"0\r\n\r\n")
            await client.close()

    run(scenario())


def test_a_client_that_reads_slowly_holds_the_handler_under_uvicorn() -> None:
    """`write` turns False near the mark of the gateway, and everything arrives in the end."""
    refused: list[int] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [], length=200 * 65_536)
        for number in range(199):
            if not exchange.write(b"x" * 65_536):
                refused.append(number)
                await exchange.drain()
        exchange.finish(b"x" * 65_536)

    async def scenario() -> None:
        async with _uvicorn(_app(handler)) as address:
            client = await _client(address)
            await client.send(GET)
            assert len((await client.answer()).body) == 200 * 65_536
            assert refused[0] < 10
            await client.close()

    run(scenario())


@pytest.mark.parametrize("how", ["twice", "split", "early", "long", "switch"])
def test_a_handler_that_breaks_the_rules_is_told(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The seam's errors are raised here too; the client gets 500 or a cut answer."""

    async def handler(exchange: Exchange) -> None:
        if how == "early":
            exchange.write(b"x")
        if how == "switch":
            exchange.switch([])
        exchange.start(200, [(b"a", b"b\r\nc: d")] if how == "split" else [], length=3)
        if how == "twice":
            exchange.start(200, [])
        exchange.finish(b"four" if how == "long" else b"")

    async def scenario() -> None:
        async with _uvicorn(_app(handler)) as address:
            client = await _client(address)
            await client.send(GET)
            if how in {"twice", "long"}:
                assert b"four" not in await client.within(client.reader.read())
            else:
                assert (await client.answer()).status == 500
            await client.close()

    run(scenario())
    assert "failed" in caplog.text


def test_a_websocket_is_refused_under_uvicorn() -> None:
    """The handshake gets 501 in the gateway's error shape."""

    async def scenario() -> None:
        async with _uvicorn(_app(echo)) as address:
            client = await _client(address)
            answer = await client.ask(
                b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert answer.status == 501
            assert "WebSocket" in answer.error["message"]
            await client.close()

    run(scenario())


def test_resources_live_as_long_as_the_server() -> None:
    """They are entered before the first request and left after the last."""
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        seen.append("entered")
        yield
        seen.append("left")

    async def handler(exchange: Exchange) -> None:
        seen.append("asked")
        await echo(exchange)

    async def scenario() -> None:
        app = AsgiApp(handler, limits=LimitsConfig(), clock=SystemClock(), resources=resources())
        async with _uvicorn(app) as address:
            client = await _client(address)
            await client.ask(GET)
            await client.close()
        assert seen == ["entered", "asked", "left"]

    run(scenario())


async def _lifespan(app: AsgiApp) -> list[str]:
    """Return what an application says of its start and end."""
    said: list[str] = []
    asked = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(asked)}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message["type"])

    with pytest.raises(OSError, match="full"):
        await app({"type": "lifespan"}, receive, send)
    return said


@pytest.mark.parametrize("at_end", [True, False])
def test_resources_that_fail_are_told_in_their_phase(*, at_end: bool) -> None:
    """A failure to leave them is one of the shutdown, not of a start that was complete."""

    @contextlib.asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        if not at_end:
            raise OSError("full")
        yield
        raise OSError("full")

    async def scenario() -> None:
        app = AsgiApp(echo, limits=LimitsConfig(), clock=SystemClock(), resources=resources())
        complete = ["lifespan.startup.complete"] if at_end else []
        phase = "shutdown" if at_end else "startup"
        assert await _lifespan(app) == [*complete, f"lifespan.{phase}.failed"]

    run(scenario())


@pytest.mark.parametrize(
    ("version", "method", "length"), [("2", "POST", None), ("2", "GET", 0), ("1.1", "POST", 0)]
)
def test_bodies_that_no_field_announces(version: str, method: str, length: int | None) -> None:
    """HTTP/2 needs neither Content-Length nor Transfer-Encoding: such a body is not taken for none.

    No server with HTTP/2 is installed here, so the messages are its.
    """
    found: list[int | None] = []

    async def handler(exchange: Exchange) -> None:
        found.append(exchange.body_length)
        await echo(exchange)

    async def scenario() -> None:
        sent: list[MutableMapping[str, Any]] = []
        came: Iterator[dict[str, Any]] = iter(
            [{"type": "http.request", "body": b"hello"}, {"type": "http.disconnect"}]
        )
        scope = {"type": "http", "http_version": version, "method": method, "path": "/p"}

        async def receive() -> dict[str, Any]:
            message = next(came)
            if message["type"] == "http.disconnect":
                await asyncio.sleep(5)
            return message

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await _app(handler)({**scope, "headers": [(b"host", b"h")]}, receive, send)
        assert found == [length]
        assert sent[0]["status"] == 200

    run(scenario())


def test_requests_beyond_the_limit_are_told_under_uvicorn() -> None:
    """Above `in_flight` a request is answered 503."""
    release = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await release.wait()
        await echo(exchange)

    async def scenario() -> None:
        app = _app(waits, in_flight=1)
        async with _uvicorn(app) as address:
            first, second = await _client(address), await _client(address)
            await first.send(GET)
            await until(lambda: app.in_flight == 1)
            assert (await second.ask(GET)).status == 503
            release.set()
            assert (await first.answer()).status == 200
            await first.close()
            await second.close()

    run(scenario())
