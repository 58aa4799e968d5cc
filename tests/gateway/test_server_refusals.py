import asyncio

import pytest
from support.raw_client import echo, run, serving, until

from gateway.server_state import LINGER_S

H = b"Host: h\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def _refused(sent: bytes, status: int, **limits: object) -> str:
    """Send bytes on a fresh connection, check that it is refused and closed; return the message."""
    messages: list[str] = []

    async def scenario() -> None:
        async with serving(echo, **limits) as served:
            client = await served.client()
            answer = await client.ask(sent)
            assert answer.status == status
            assert answer.headers["connection"] == "close"
            assert set(answer.error) == {"message", "type", "param", "code"}
            messages.append(answer.error["message"])
            assert await client.at_end()
            assert (await served.ask(NEXT)).status == 200

    run(scenario())
    return messages[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n" + H + b"\r\n",
        b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n",
        b"GET / HTTP/1.1\n" + H + b"\n",
        b"GET / HTTP/1.1\r\n" + H + b"A: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + H + b"A: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + H + b"A: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + H + b"A : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + H + b": a\r\n\r\n",
    ],
)
def test_malformed_requests_are_400(sent: bytes) -> None:
    """What is no HTTP/1.1 request is refused in the OpenAI error shape."""
    _refused(sent, 400)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x/#@evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ],
)
def test_a_request_has_exactly_one_sound_host(sent: bytes) -> None:
    """Host missing, doubled, or with what belongs to a path is refused."""
    assert "Host" in _refused(sent, 400)


@pytest.mark.parametrize("field", ["Content-Type", "Expect", "Host"])
def test_a_field_that_decides_is_not_doubled(field: str) -> None:
    """Where the first and the last of two values could both be believed, neither is."""
    doubled = f"{field}: a\r\n{field}: b\r\n\r\n".encode()
    assert field in _refused(b"GET / HTTP/1.1\r\n" + doubled, 400)


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" + NEXT,
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na" + NEXT,
        POST + b"Content-Length: 1, 1\r\n\r\na" + NEXT,
        POST + b"Content-Length: +1\r\n\r\na" + NEXT,
        POST + b"Content-Length: -1\r\n\r\n" + NEXT,
        POST + b"Content-Length: 0x1\r\n\r\na" + NEXT,
        POST + b"Content-Length:\r\n\r\n" + NEXT,
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: identity\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + NEXT,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + NEXT,
    ],
)
def test_ambiguous_framing_is_refused_and_nothing_after_it_is_read(sent: bytes) -> None:
    """Whatever two parsers could read differently is 400, and the smuggled request is dropped."""
    _refused(sent, 400)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"CONNECT h:443 HTTP/1.1\r\n" + H + b"\r\n", 405),
        (b"GET / HTTP/3.0\r\n" + H + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + H + b"\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\n" + H + b"\r\n", 400),
        (b"GET / HTTP/1.2\r\n" + H + b"\r\n", 400),
        (b"SOURCE /s ICE/1.0\r\n" + H + b"\r\n", 405),
        (b"DESCRIBE /s RTSP/1.0\r\n" + H + b"\r\n", 405),
        (b"UNHEARD-OF / HTTP/1.1\r\n" + H + b"\r\n", 400),
        (POST + b"Expect: 100-continue\r\nExpect: more\r\nContent-Length: 0\r\n\r\n", 400),
        (POST + b"Expect: 200-maybe\r\n\r\n", 417),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
        (b"GET /" + b"a" * 70_000, 414),
    ],
)
def test_what_is_not_supported_is_named(sent: bytes, status: int) -> None:
    """Codings, versions, tunnels, expectations and targets out of reach have their own status."""
    _refused(sent, status)


@pytest.mark.parametrize(
    "fields",
    [
        b"A: " + b"x" * 70_000 + b"\r\n\r\n",
        b"A: " + b"x" * 1_000_000,
        b"".join(b"A%d: %b\r\n" % (n, b"x" * 1_000) for n in range(70)) + b"\r\n",
        b"".join(b"A%d: x\r\n" % n for n in range(101)) + b"\r\n",
        b"".join(b"A%d: x\r\n" % n for n in range(10_000)) + b"\r\n",
    ],
)
def test_a_header_block_too_large_is_431(fields: bytes) -> None:
    """One long field, one that never ends, and too many fields are refused with the limit."""
    assert "gateway.limits.header" in _refused(b"GET / HTTP/1.1\r\n" + H + fields, 431)


def test_a_small_header_limit_is_exact() -> None:
    """A head of a packet's size is measured too."""
    field = b"A: " + b"x" * 1_100 + b"\r\n\r\n"
    _refused(b"GET / HTTP/1.1\r\n" + H + field, 431, header_bytes=1024)


@pytest.mark.parametrize("part", [b"0\r\nA: ", b"1;"], ids=["trailer", "chunk extension"])
def test_what_surrounds_chunks_is_bounded(part: bytes) -> None:
    """A trailer or chunk extension that never ends is refused."""
    endless = part + b"x" * 200_000
    _refused(POST + b"Transfer-Encoding: chunked\r\n\r\n" + endless, 400)


def test_extensions_heavier_than_a_head_are_refused_however_they_are_cut() -> None:
    """Chunks of one byte with large extensions are counted together."""
    chunks = (b"1;" + b"x" * 1_000 + b"\r\na\r\n") * 200
    message = _refused(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + NEXT, 400)
    assert "gateway.limits.header_bytes" in message


def test_small_chunks_earn_no_larger_trailer() -> None:
    """What is not counted of many chunks cannot be spent on one trailer afterwards."""
    endless = b"1\r\na\r\n" * 100_000 + b"0\r\nA: " + b"x" * 200_000
    message = _refused(POST + b"Transfer-Encoding: chunked\r\n\r\n" + endless, 400)
    assert "gateway.limits.header_bytes" in message


def test_a_body_of_many_small_chunks_is_no_attack() -> None:
    """The size of a chunk and its line ends are not counted, so any body may be cut so."""

    async def scenario() -> None:
        async with serving(echo, header_bytes=1024) as served:
            chunks = b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"
            answer = await served.ask(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            assert answer.body == b"POST /?|" + b"a" * 50_000

    run(scenario())


@pytest.mark.parametrize("known", [True, False], ids=["content-length", "chunked"])
def test_a_body_too_large_is_413(known: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The answer reaches a client that is still sending, also if it waits for it only then."""
    body = b"x" * 3_000_000
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if known else chunked
    message = _refused(POST + framed, 413, body_bytes=100_000)
    assert "gateway.limits.body_bytes" in message


def test_a_good_request_before_a_bad_one_is_answered() -> None:
    """Pipelined: the first is answered, then the second is refused."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            await client.send(b"GET /good HTTP/1.1\r\nHost: h\r\n\r\nGARBAGE\r\n\r\n" + NEXT)
            assert (await client.answer()).body == b"GET /good?|"
            assert (await client.answer()).status == 400
            assert await client.at_end()

    run(scenario())


def test_connections_beyond_the_limit_are_told() -> None:
    """One too many gets 503 with Retry-After; when one leaves there is room again."""

    async def scenario() -> None:
        async with serving(echo, connections=1) as served:
            first = await served.client()
            assert (await first.ask(NEXT)).status == 200
            answer = await served.ask(NEXT)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.error["code"] == "overloaded"
            for client in served.clients:
                await client.close()
            await asyncio.sleep(0.05)
            assert (await served.ask(NEXT)).status == 200

    run(scenario())


def test_requests_beyond_the_limit_are_told() -> None:
    """Above `in_flight` and `queue` a request gets 503 at once, and its connection lives on."""

    async def scenario() -> None:
        release = asyncio.Event()

        async def waits(exchange: object) -> None:
            await release.wait()
            await echo(exchange)  # type: ignore[arg-type]  # the server passes an Exchange

        async with serving(waits, in_flight=1, queue=0) as served:
            first, second = await served.client(), await served.client()
            await first.send(NEXT)
            await asyncio.sleep(0.05)
            assert (await second.ask(NEXT)).error["code"] == "overloaded"
            release.set()
            assert (await first.answer()).status == 200
            assert (await second.ask(NEXT)).status == 200

    run(scenario())


def test_the_absolute_form_is_read_as_its_path() -> None:
    """A target with scheme and authority means its path; the authority decides nothing."""

    async def scenario() -> None:
        async with serving(echo) as served:
            answer = await served.ask(b"GET http://evil/a/b?c=d HTTP/1.1\r\nHost: h\r\n\r\n")
            assert answer.body == b"GET /a/b?c=d|"

    run(scenario())


@pytest.mark.parametrize("first", [b"", NEXT], ids=["noise", "noise behind a request"])
def test_a_refused_client_that_ends_its_input_is_let_go_at_once(first: bytes) -> None:
    """Once both sides have ended, the connection does not linger."""

    async def scenario() -> None:
        async with serving(echo) as served:
            client = await served.client()
            await client.send(first + b"noise\r\n\r\n")
            for status in [200] * bool(first) + [400]:
                assert (await client.answer()).status == status
            assert await client.at_end()
            client.writer.write_eof()
            await until(lambda: served.server.statistics().connections == 0, timeout_s=LINGER_S / 4)

    run(scenario())
