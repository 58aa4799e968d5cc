"""Upstreams behind a proxy, or over HTTP/2."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from support.fake_answers import Pause
from support.fake_proxy import FakeProxy, carry, fake_proxy
from support.fake_upstream import FakeUpstream
from support.raw_server import Parts, raw_server
from support.transport_kit import LOOPS, Run, body_of, chat, fault_of, fetch, raw, read_all, run_on

from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.httpx_upstream import HttpxUpstream
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)


@asynccontextmanager
async def client(url: str, proxy: FakeProxy | None = None, **config: Any) -> AsyncIterator[Any]:
    """Give a client, perhaps through a proxy, and close it."""
    through = {} if proxy is None else {"proxy": proxy.url}
    config = {"name": "primary", "url": url, **through, **config}
    upstream = HttpxUpstream(UpstreamConfig.model_validate(config))
    try:
        yield upstream
    finally:
        await upstream.aclose()


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Load the libraries before a loop runs: it happens once in a process, and reads files."""
    HttpxUpstream(UpstreamConfig(name="u", url="http://h"))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Give a certificate for a name that only `server_name` can ask for."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=fake"]
    command += ["-addext", "subjectAltName=DNS:model.example"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return folder / "certificate.pem", context


def test_plain_requests_go_through_the_proxy(run: Run) -> None:
    """Target, fields and body reach the upstream as they would without a proxy."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            request = chat()
            response = await upstream.send(request, connect_timeout_s=2)
            assert response.status == 200
            assert (b"Content-Type", b"application/json") in response.headers
            assert json.loads(await read_all(response))
            assert f"POST {fake.url}/chat/completions HTTP/1.1".encode() in proxy.heads[0]
        seen = fake.requests[0]
        assert (seen.target, seen.body) == ("/v1/chat/completions", body_of(request))
        assert seen.headers == [
            ("Host", f"127.0.0.1:{fake.port}"),
            ("Content-Type", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Content-Length", str(len(body_of(request)))),
        ]

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_https_is_tunnelled(run: Run, tls: tuple[Path, ssl.SSLContext]) -> None:
    """An https upstream is reached by CONNECT with credentials; TLS is with the upstream."""
    certificate, context = tls

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy:
            known = FakeProxy(proxy.url.replace("//", "//me:secret@"))
            names = {"ca_file": str(certificate), "server_name": "model.example"}
            async with client(fake.url, known, **names) as upstream:
                for stream in (False, True):
                    assert await fetch(upstream, chat(stream=stream))
                    await asyncio.sleep(0.01)
            assert len(proxy.heads) == fake.connections == 1
            assert proxy.heads[0].startswith(b"CONNECT 127.0.0.1:%d " % fake.port)
            assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.heads[0]

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))


def test_a_certificate_nobody_vouches_for_is_refused(
    run: Run, tls: tuple[Path, ssl.SSLContext]
) -> None:
    """A proxy changes nothing about trust."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)
        assert fake.requests == []

    with FakeUpstream(tls=tls[1]) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "unreachable"),
        (b"", "timeout"),
    ],
)
def test_a_proxy_that_does_not_connect_is_of_the_connect_phase(
    run: Run, answer: bytes, reason: str
) -> None:
    """A refusal, or silence beyond the connect timeout, is a fault of an unsent request."""

    async def scenario() -> None:
        async with fake_proxy() as proxy, client("https://127.0.0.1:9/v1", proxy) as upstream:
            proxy.connect_answer = answer
            fault = await fault_of(upstream, chat(), connect_timeout_s=0.2)
            assert fault.reason == f"upstream_{reason}"
            assert (fault.sent, fault.connect_phase) == (False, True)
            assert upstream.statistics() == (0, 0, 0)

    run(scenario())


async def _socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let anyone in, connect to an IPv4 address, and carry bytes (RFC 1928)."""
    count = (await reader.readexactly(2))[1]
    await reader.readexactly(count)
    writer.write(b"\x05\x00")
    await reader.readexactly(4)
    host, port = await reader.readexactly(4), await reader.readexactly(2)
    writer.write(b"\x05\x00\x00\x01" + host + port)
    await carry(reader, writer, ".".join(map(str, host)), int.from_bytes(port, "big"))


def test_a_socks_proxy_carries_requests(run: Run) -> None:
    """A SOCKS 5 proxy is asked for the upstream's address; the rest is HTTP as ever."""

    async def scenario(fake: FakeUpstream) -> None:
        async with raw_server(_socks5) as port:
            proxy = FakeProxy(f"socks5://127.0.0.1:{port}")
            async with client(fake.url, proxy) as upstream:
                assert json.loads(await fetch(upstream, chat()))

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_proxy_that_is_not_there_is_unreachable(run: Run) -> None:
    """A refused connection to the proxy is of the connect phase."""

    async def scenario() -> None:
        url = "http://127.0.0.1:9/v1"
        async with client(url, FakeProxy("http://127.0.0.1:9")) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)

    run(scenario())


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("close", Reason.UPSTREAM_UNREACHABLE),
        ("reset", Reason.UPSTREAM_UNREACHABLE),
        ("close_mid_head", Reason.UPSTREAM_UNREACHABLE),
        ("garbage", Reason.UPSTREAM_INVALID),
        ("close_after:token", Reason.UPSTREAM_UNREACHABLE),
    ],
)
def test_broken_answers_are_the_faults_of_the_other_client(
    run: Run, behaviour: str, reason: Reason
) -> None:
    """Cuts are UPSTREAM_UNREACHABLE, bad framing is UPSTREAM_INVALID, of a sent request."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            fault = await fault_of(upstream, chat(f"fault:{behaviour}", stream=True))
            assert (fault.reason, fault.sent, fault.connect_phase) == (reason, True, False)
            await asyncio.sleep(0.01)
            assert upstream.statistics().in_use == 0

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_the_body_is_not_decoded_and_redirects_stay(run: Run) -> None:
    """Status, encoded bytes and Location come as they were sent; cookies are not kept."""
    answer = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://h/\r\nSet-Cookie: a=b\r\n"
    answer += b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            for _ in range(2):
                response = await upstream.send(chat(), connect_timeout_s=2)
                assert response.status == 307
                assert await read_all(response) == b"nope"
        assert [seen.header("cookie") for seen in fake.requests] == [None, None]

    with FakeUpstream(raw(answer)) as fake:
        run(scenario(fake))


@pytest.mark.parametrize("length", [9, None])
def test_a_source_is_streamed(run: Run, length: int | None) -> None:
    """A body that is not held goes out sized, or chunked."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            source = Parts(b"one", b"two", b"six", length=length)
            await fetch(upstream, UpstreamRequest(b"POST", b"/files", [], source))
        seen = fake.requests[0]
        assert seen.body == b"onetwosix"
        assert seen.header("transfer-encoding") == (None if length else "chunked")

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize("error", [LookupError("gone"), ConnectionResetError("gone")])
def test_an_error_of_the_source_comes_out(run: Run, error: Exception) -> None:
    """What a source raises is not taken for a fault of the upstream, not even an OSError."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            source = Parts(b"one", length=9, error=error)
            with pytest.raises(type(error), match="gone"):
                await upstream.send(
                    UpstreamRequest(b"POST", b"/files", [], source), connect_timeout_s=2
                )
            assert upstream.statistics() == (0, 0, 0)
        assert fake.requests == []

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_pump_resume_and_stop(run: Run) -> None:
    """A sink gets every chunk, may pause, and may be stopped with a fault."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    steps = (head + b"3\r\none\r\n", Pause(0.05), b"3\r\ntwo\r\n", Pause(0.05), b"0\r\n\r\n")

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            loop, chunks = asyncio.get_running_loop(), list[bytes]()

            def sink(chunk: bytes) -> bool:
                chunks.append(chunk)
                loop.call_later(0.02, response.resume)
                return False

            response = await upstream.send(chat(), connect_timeout_s=2)
            await response.pump(sink)
            response.release()
            assert chunks == [b"one", b"two"]
            response = await upstream.send(chat(), connect_timeout_s=2)
            fault = UpstreamFault("too slow", reason=Reason.STREAM_TIMEOUT)
            loop.call_later(0.02, response.stop, fault)
            with pytest.raises(UpstreamFault, match="too slow"):
                await response.pump(lambda _: True)
            response.release()

    with FakeUpstream(raw(*steps)) as fake:
        run(scenario(fake))


def test_a_full_queue_and_a_long_wait_are_busy(run: Run) -> None:
    """Beyond `max_connections` requests wait, bounded in number and in time."""

    async def scenario(fake: FakeUpstream) -> None:
        limits = {"max_connections": 1, "max_queue": 1}
        async with fake_proxy() as proxy, client(fake.url, proxy, **limits) as upstream:
            held = await upstream.send(chat("fault:for_ever:tokens"), connect_timeout_s=2)
            async with asyncio.TaskGroup() as group:
                late = group.create_task(fault_of(upstream, chat(), connect_timeout_s=0.2))
                await asyncio.sleep(0.05)
                assert upstream.statistics() == (1, 0, 1)
                refused = await fault_of(upstream, chat())
            for fault in (refused, late.result()):
                assert (fault.reason, fault.sent) == (Reason.UPSTREAM_BUSY, False)
            held.release()
            assert await fetch(upstream, chat())

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_cancelled_call_leaves_nothing_behind(run: Run) -> None:
    """A call given up closes its connection, and the next one is served."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy, max_connections=1) as upstream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await upstream.send(chat("fault:stall"), connect_timeout_s=2)
            assert upstream.statistics() == (0, 0, 0)
            assert await fetch(upstream, chat())

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest(b"GET", b"/../admin"),
        UpstreamRequest(b"GET", b"/models", [(b"X-A", b"1\r\nB: 2")]),
        UpstreamRequest(b"GET", b"/realtime", [], upgrade=b"websocket"),
    ],
)
def test_what_cannot_be_sent_is_refused(run: Run, request_: UpstreamRequest) -> None:
    """The rules of the other client hold; an upgrade is refused with the reason."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            fault = await fault_of(upstream, request_)
            assert (fault.reason, fault.sent) == (Reason.INVALID_REQUEST, False)
        assert fake.requests == []

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_retired_client_closes_with_its_last_request(run: Run) -> None:
    """After `retire` the request under way is served, then every connection closes."""

    async def scenario(fake: FakeUpstream) -> None:
        async with fake_proxy() as proxy, client(fake.url, proxy) as upstream:
            held = await upstream.send(chat(), connect_timeout_s=2)
            upstream.retire()
            assert await read_all(held)
            await asyncio.to_thread(fake.wait_until_idle)
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.SHUTTING_DOWN

    with FakeUpstream() as fake:
        run(scenario(fake))


async def _serve_h2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every stream with its fields, in two parts."""
    h2 = H2Connection(config=H2Configuration(client_side=False))
    h2.initiate_connection()
    writer.write(h2.data_to_send())
    fields: dict[int, list[Any]] = {}
    received: dict[int, bytes] = {}
    while data := await reader.read(65536):
        events: list[Any] = list(h2.receive_data(data))
        for event in events:
            kind = type(event).__name__
            if kind == "RequestReceived":
                fields[event.stream_id] = [
                    [str(k, "latin-1"), str(v, "latin-1")] for k, v in event.headers
                ]
            elif kind == "DataReceived":
                received[event.stream_id] = received.get(event.stream_id, b"") + event.data
            elif kind == "StreamEnded":
                number = event.stream_id
                answer = {"fields": fields[number], "body": received.get(number, b"").decode()}
                h2.send_headers(number, [(":status", "200"), ("x-a", "1"), ("x-a", "2")])
                h2.send_data(number, json.dumps(answer).encode())
                h2.send_data(number, b"\n", end_stream=True)
        writer.write(h2.data_to_send())


@pytest.mark.parametrize("held", [True, False])
def test_http2_carries_requests_beside_each_other(run: Run, *, held: bool) -> None:
    """Several requests share a connection; pseudo-fields, repeated fields and bodies are right."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _serve_h2(reader, writer)

    async def one(upstream: HttpxUpstream, number: int) -> None:
        text = b"body %d" % number
        body = text if held else Parts(text, length=None)
        request = UpstreamRequest(b"POST", b"/x?n=%d" % number, [(b"X-N", b"%d" % number)], body)
        response = await upstream.send(request, connect_timeout_s=2)
        assert response.headers == [(b"x-a", b"1"), (b"x-a", b"2")]
        answer = json.loads(await read_all(response))
        fields = dict(answer["fields"])
        assert (fields[":path"], fields["x-n"]) == (f"/v1/x?n={number}", str(number))
        assert answer["body"] == text.decode()

    async def scenario() -> None:
        async with raw_server(serve) as port:
            url = f"http://127.0.0.1:{port}/v1"
            async with client(url, http2=True) as upstream:
                await one(upstream, 0)
                await asyncio.gather(*(one(upstream, number) for number in range(1, 9)))
        assert connections == 1

    run(scenario())


def test_http2_cut_is_unreachable(run: Run) -> None:
    """A server that hangs up in the middle is UPSTREAM_UNREACHABLE."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async def scenario() -> None:
        url = "http://127.0.0.1:{}/v1"
        async with raw_server(serve) as port, client(url.format(port), http2=True) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert fault.sent

    run(scenario())


def test_root_is_beside_the_api(run: Run) -> None:
    """A request for the root leaves the `/v1` of the base path out, as without a proxy."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, UpstreamRequest(b"POST", b"/score", root=True))
        assert fake.requests[0].target == "/score"

    with FakeUpstream() as fake:
        run(scenario(fake))
