"""What the client writes, and how it reads sound answers."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from support.fake_answers import CLOSE, answer_text, chunk
from support.fake_upstream import FakeUpstream
from support.transport_kit import (
    LOOPS,
    Run,
    body_of,
    chat,
    client,
    fault_of,
    fetch,
    raw,
    read_all,
    run_on,
)

from router.address import parse_address
from router.config import UpstreamConfig
from router.errors import Reason
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)


def test_plain_answer_arrives_whole(run: Run) -> None:
    """A plain answer's status, headers and body are the upstream's."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            request = chat()
            response = await upstream.send(request, connect_timeout_s=2)
            assert response.status == 200
            assert (b"Content-Type", b"application/json") in response.headers
            answer = json.loads(await read_all(response))
        expected = answer_text(json.loads(body_of(request)))
        assert answer["choices"][0]["message"]["content"] == expected

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_request_is_written_with_host_length_and_identity_encoding(run: Run) -> None:
    """The client adds Host, Content-Length and Accept-Encoding, and joins the base path."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            request = chat()
            await fetch(upstream, request)
        seen = fake.requests[0]
        assert (seen.method, seen.target) == ("POST", "/v1/chat/completions")
        assert seen.headers == [
            ("Host", f"127.0.0.1:{fake.port}"),
            ("Content-Type", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Content-Length", str(len(body_of(request)))),
        ]
        assert seen.body == request.body

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_callers_accept_encoding_wins(run: Run) -> None:
    """A caller that asks for an encoding is not overruled."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(
                upstream, UpstreamRequest(b"GET", b"/models", [(b"accept-encoding", b"br")])
            )
        encodings = [v for k, v in fake.requests[0].headers if k.lower() == "accept-encoding"]
        assert encodings == ["br"]

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_large_body_is_sent_unchanged(run: Run) -> None:
    """A body far larger than any socket buffer arrives as it was."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            request = chat(prompt="x" * 5_000_000)
            await fetch(upstream, request)
        assert fake.requests[0].body == request.body

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize("model", ["m", "fault:small_chunks", "fault:drip:0:3", "fault:crlf"])
def test_stream_is_the_same_however_it_is_cut(run: Run, model: str) -> None:
    """Events arrive complete whether sent at once, byte by byte or in tiny chunks."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            body = await fetch(upstream, chat(model, stream=True))
        events = [line for line in body.splitlines() if line]
        assert events[-1] == b"data: [DONE]"
        text = "".join(
            json.loads(event[6:])["choices"][0]["delta"].get("content", "") for event in events[:-1]
        )
        assert text == answer_text(json.loads(fake.requests[0].body))

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_events_are_readable_as_they_arrive(run: Run) -> None:
    """The first event can be read while the upstream still holds the rest back."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            request = chat("fault:stall_after:role", stream=True)
            response = await upstream.send(request, connect_timeout_s=2)
            assert b'"role": "assistant"' in await response.read()
            response.release()
            assert upstream.statistics().in_use == 0
        await asyncio.to_thread(fake.wait_for, "aborts", 1)

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_buffered_bytes_are_read_without_a_task_switch(run: Run) -> None:
    """`read` does not suspend when something has arrived already."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            reading = response.read()
            with pytest.raises(StopIteration) as stopped:
                reading.send(None)
            assert stopped.value.value.startswith(b"{")
            response.release()

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_reader_that_does_not_read_stops_the_upstream(run: Run) -> None:
    """An endless answer that nobody reads is not taken into memory; read, it goes on."""
    sent = 0

    def endless(_: object) -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            sent += 100_000
            yield chunk(b"x" * 100_000)

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            await asyncio.sleep(0.3)
            before = sent
            await asyncio.sleep(0.3)
            assert sent == before
            assert len(await response.read()) < 2_000_000
            while sent < before + 10_000_000:
                await response.read()
            response.release()

    with FakeUpstream(endless) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answer_without_body_ends_with_its_head(run: Run, method: bytes, answer: bytes) -> None:
    """HEAD, 204, 304 and length 0 have no body, and the connection serves the next request."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fake.script(raw(answer))
            assert await fetch(upstream, UpstreamRequest(method, b"/models")) == b""
            assert json.loads(await fetch(upstream, UpstreamRequest(b"GET", b"/models")))
        assert fake.connections == 1

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_interim_answers_are_skipped(run: Run) -> None:
    """1xx answers and their headers never reach the caller."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            assert response.headers == [(b"Content-Length", b"2")]
            assert await read_all(response) == b"hi"

    with FakeUpstream(raw(early, final)) as fake:
        run(scenario(fake))


def test_body_without_length_ends_with_the_connection(run: Run) -> None:
    """A body that only a clean end of the connection delimits is complete then."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            assert await fetch(upstream, chat()) == b"all of it"
            assert upstream.statistics() == (0, 0, 0)

    with FakeUpstream(raw(b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it", CLOSE)) as fake:
        run(scenario(fake))


def test_trailer_fields_are_dropped(run: Run) -> None:
    """Fields behind a chunked body do not turn up among the headers."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
    )

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            assert await read_all(response) == b"hi"
            assert response.headers == [(b"Transfer-Encoding", b"chunked")]

    with FakeUpstream(raw(answer)) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    "header",
    [
        (b"X-A", b"1\r\nX-Injected: 1"),
        (b"X-A", b"1\nX-Injected: 1"),
        (b"X-A", b"1\0"),
        (b"X-A\r\nX-Injected", b"1"),
        (b"X A", b"1"),
        (b"", b"1"),
        (b"X-A:", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"Host", b"elsewhere"),
        (b"Connection", b"close"),
    ],
)
def test_unsendable_header_is_refused_before_sending(header: tuple[bytes, bytes]) -> None:
    """A field that could add or change framing never leaves, and its value is not told."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, UpstreamRequest(b"GET", b"/models", [header]))
            assert (fault.reason, fault.sent) == (Reason.INVALID_REQUEST, False)
            assert "elsewhere" not in str(fault)
            assert upstream.statistics().in_use == 0
        assert fake.requests == []

    with FakeUpstream() as fake:
        asyncio.run(scenario(fake))


@pytest.mark.parametrize(
    "target",
    [
        b"models",
        b"",
        b"//elsewhere/x",
        b"/a b",
        b"/a\r\nX: 1",
        b"/a#b",
        b"/\xc3\xa9",
        b"/../admin",
        b"/a/../../admin",
        b"/%2e%2e/admin",
        b"/.%2E/admin",
        b"/..%2fadmin",
        b"/a/..",
        b"/..;x/admin",
        b"/..\\admin",
        b"/%5c..%5cadmin",
        b"/./a",
        b"http://elsewhere/",
        b"/a%0d%0aX: 1",
        b"/a%00",
    ],
)
def test_target_cannot_leave_the_base_path(target: bytes) -> None:
    """A target that a server could resolve to another place is refused before sending."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, UpstreamRequest(b"GET", target))
            assert (fault.reason, fault.sent) == (Reason.INVALID_REQUEST, False)
        assert fake.requests == []

    with FakeUpstream() as fake:
        asyncio.run(scenario(fake))


@pytest.mark.parametrize(
    "target", [b"/models", b"/a/b%20c", b"/files/..x", b"/a?q=../b&r=%2e%2e", b"/.well-known/x"]
)
def test_odd_but_sound_target_passes(target: bytes) -> None:
    """Escapes, dots inside names and anything in the query pass unchanged."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, UpstreamRequest(b"GET", target))
        assert fake.requests[0].target.encode() == b"/v1" + target

    with FakeUpstream() as fake:
        asyncio.run(scenario(fake))


@pytest.mark.parametrize(
    ("url", "host", "authority", "base_path"),
    [
        ("http://h:80/v1/", "h", "h", "/v1"),
        ("https://h", "h", "h", ""),
        ("https://h:8443/a/b", "h", "h:8443", "/a/b"),
        ("http://[::1]:9/v1", "::1", "[::1]:9", "/v1"),
        ("http://bücher.example/v1", "xn--bcher-kva.example", "xn--bcher-kva.example", "/v1"),
        ("http://h/a b", "h", "h", "/a%20b"),
        ("unix:///run/x.sock", "", "localhost", "/v1"),
    ],
)
def test_url_names_host_authority_and_base(
    url: str, host: str, authority: str, base_path: str
) -> None:
    """A URL says where to connect, what Host to write and what to put before targets."""
    address = parse_address(UpstreamConfig(name="u", url=url))
    assert (address.host, address.authority, address.base_path) == (host, authority, base_path)


@pytest.mark.parametrize(
    ("base", "expected"),
    [("/v1", "/score"), ("/a/v1/", "/a/score"), ("/a", "/a/score"), ("", "/score")],
)
def test_root_is_beside_the_api(run: Run, base: str, expected: str) -> None:
    """A request for the root leaves the `/v1` of the base path out, the next one does not."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(f"http://127.0.0.1:{fake.port}{base}") as upstream:
            for root in (True, False, True):
                await fetch(upstream, UpstreamRequest(b"POST", b"/score", root=root))
        below = base.rstrip("/") + "/score"
        assert [seen.target for seen in fake.requests] == [expected, below, expected]

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize("url", ["http://h:99999", "http://a..b/v1", f"http://{'x' * 70}/v1"])
def test_impossible_host_or_port_names_the_key(url: str) -> None:
    """A port beyond 65535 and a name that DNS cannot hold are refused with key path and value."""
    with pytest.raises(ValueError, match=f"`upstreams.u.url` is `{url}`"):
        parse_address(UpstreamConfig(name="u", url="http://h").model_copy(update={"url": url}))
    with pytest.raises(ValueError, match="must name a host and a port that can be"):
        UpstreamConfig(name="u", url=url)


def test_engine_needs_a_socket() -> None:
    """An engine has no URL: without a socket path there is nowhere to connect."""
    config = UpstreamConfig(name="local", engine="llama.cpp")
    assert parse_address(config, socket_path="/run/e.sock").socket_path == "/run/e.sock"
    with pytest.raises(ValueError, match=r"`upstreams\.local\.url` is missing"):
        parse_address(config)
