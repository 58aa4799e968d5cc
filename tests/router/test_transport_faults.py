"""What the client makes of upstreams that break."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support.fake_answers import CLOSE, SCRIPTS, Pause, script_named
from support.fake_upstream import FakeUpstream
from support.transport_kit import LOOPS, Run, chat, client, fault_of, fetch, raw, run_on

from router.errors import Reason, UpstreamFault
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("reset", Reason.UPSTREAM_UNREACHABLE),
        ("close", Reason.UPSTREAM_UNREACHABLE),
        ("close_mid_head", Reason.UPSTREAM_UNREACHABLE),
        ("garbage", Reason.UPSTREAM_INVALID),
        ("wrong_length", Reason.UPSTREAM_UNREACHABLE),
        ("close_after:head", Reason.UPSTREAM_UNREACHABLE),
        ("close_after:token", Reason.UPSTREAM_UNREACHABLE),
        ("reset_after:token", Reason.UPSTREAM_UNREACHABLE),
        ("two_framings:Transfer-Encoding=chunked", Reason.UPSTREAM_INVALID),
        ("two_framings:Content-Length=3", Reason.UPSTREAM_INVALID),
    ],
)
def test_broken_answer_is_a_fault_of_a_sent_request(
    run: Run, behaviour: str, reason: Reason
) -> None:
    """Cuts are UPSTREAM_UNREACHABLE, bad framing is UPSTREAM_INVALID; no connection is kept."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, chat(f"fault:{behaviour}", stream=True))
            assert (fault.reason, fault.sent, fault.connect_phase) == (reason, True, False)
            assert upstream.statistics() == (0, 0, 0)
        assert len(fake.requests) == 1

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 1,1\r\n\r\na",
        OK + b"Content-Length: -1\r\n\r\na",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\na",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\na",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab",
        OK + b"Transfer-Encoding: gzip\r\n\r\na",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n\r\n1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"1;" + b"x" * 1_000_000,
        CHUNKED + b"0" * 1_000_000,
        CHUNKED + b"0\r\nX-A: " + b"x" * 1_000_000,
        CHUNKED + b"0\r\n" + b"X-A: 1\r\n" * 100_000,
        CHUNKED + (b"1;" + b"x" * 4_000 + b"\r\na\r\n") * 300,
        OK + b"X-A: 1\r\n folded: 2\r\n\r\n",
        OK + b"X-A: a\0b\r\n\r\n",
        OK + b"X A: 1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"<html>hello</html>",
        b"\0\0\0\0\0\0",
        OK + b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n",
        OK + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
        OK + b"X-A: " + b"a" * 1_000_000,
        b"HTTP/1.1 200 " + b"O" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
def test_bad_framing_is_invalid(run: Run, answer: bytes) -> None:
    """Heads and bodies outside RFC 9112, or beyond the limits, are UPSTREAM_INVALID."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_INVALID
            assert upstream.statistics() == (0, 0, 0)

    with FakeUpstream(raw(answer)) as fake:
        run(scenario(fake))


def test_head_at_the_limits_passes(run: Run) -> None:
    """A hundred fields of almost 64 KiB, in pieces, are an ordinary answer."""
    fields = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 600) for n in range(99))

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            assert len(response.headers) == 100
            assert await response.read() == b"hi"
            response.release()

    rest = fields[1000:] + b"Content-Length: 2\r\n\r\nhi"
    with FakeUpstream(
        raw(OK, fields[:1000], Pause(0.02), rest[:-40], Pause(0.02), rest[-40:])
    ) as fake:
        run(scenario(fake))


def test_many_small_chunks_are_an_ordinary_body(run: Run) -> None:
    """What frames each of a hundred thousand chunks does not add up to too much."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            assert await fetch(upstream, chat()) == b"a" * 100_000
            assert upstream.statistics() == (0, 1, 0)

    with FakeUpstream(raw(CHUNKED, *[b"0001;x=y\r\na\r\n" * 1_000] * 100, b"0\r\n\r\n")) as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", OK + b"Content-Length: 2\r\n\r\nhi"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi"),
    ],
)
def test_body_where_none_can_be_is_dropped(run: Run, method: bytes, answer: bytes) -> None:
    """A body behind HEAD or 204 is dropped with its connection, not read as the next answer."""

    async def scenario(fake: FakeUpstream) -> None:
        fake.script(raw(answer))
        async with client(fake.url) as upstream:
            assert await fetch(upstream, UpstreamRequest(method, b"/models")) == b""
            assert upstream.statistics() == (0, 0, 0)
            assert json.loads(await fetch(upstream, UpstreamRequest(b"GET", b"/models")))

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_what_arrived_before_a_cut_can_be_read(run: Run) -> None:
    """Bytes in front of a cut are returned before the fault is raised, and it is raised again."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            await asyncio.to_thread(fake.wait_until_idle)
            assert await response.read() == b"half"
            for _ in range(2):
                with pytest.raises(Exception, match="cut the answer short"):
                    await response.read()
            response.release()
            response.release()
            assert upstream.statistics() == (0, 0, 0)

    with FakeUpstream(raw(OK + b"Content-Length: 8\r\n\r\nhalf", CLOSE)) as fake:
        run(scenario(fake))


def test_early_answer_to_an_unfinished_request_is_delivered(run: Run) -> None:
    """A server that answers and closes without taking the whole body is still heard."""
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                released.wait(5)

        async def scenario() -> None:
            port = server.getsockname()[1]
            async with client(f"http://127.0.0.1:{port}/v1") as upstream:
                answering = asyncio.get_running_loop().run_in_executor(None, answer)
                request = chat(prompt="x" * 20_000_000)
                response = await upstream.send(request, connect_timeout_s=2)
                assert response.status == 413
                response.release()
                assert upstream.statistics() == (0, 0, 0)
                released.set()
                await answering

        run(scenario())


def test_refused_connection_is_of_the_connect_phase(run: Run) -> None:
    """A refused connection is UPSTREAM_UNREACHABLE, unsent; when the port is back, all is well."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fake.refuse()
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)
            assert upstream.statistics() == (0, 0, 0)
            fake.accept()
            assert await fetch(upstream, chat())

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_unresolvable_name_is_of_the_connect_phase(run: Run) -> None:
    """A name without an address is UPSTREAM_UNREACHABLE, unsent."""

    async def scenario() -> None:
        async with client("http://no-such-host.invalid/v1") as upstream:
            fault = await fault_of(upstream, chat(), connect_timeout_s=10)
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)

    run(scenario())


@pytest.fixture
def black_hole() -> Iterator[int]:
    """Give a port whose connections are never completed: its backlog is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


def test_connect_timeout_is_kept(run: Run, black_hole: int) -> None:
    """A connection that does not come about in time is UPSTREAM_TIMEOUT, unsent."""

    async def scenario() -> None:
        async with client(f"http://127.0.0.1:{black_hole}/v1") as upstream:
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            fault = await fault_of(upstream, chat(), connect_timeout_s=0.2)
            assert 0.15 < loop.time() - started_s < 1.5
            assert fault.reason is Reason.UPSTREAM_TIMEOUT
            assert (fault.sent, fault.connect_phase) == (False, True)
            assert upstream.statistics() == (0, 0, 0)

    run(scenario())


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_misbehaviour_leaves_the_pool_sound(run: Run, name: str) -> None:
    """Whatever an upstream does, given up in time it costs no slot, and the next answer is good."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=1) as upstream:
            with suppress(UpstreamFault, TimeoutError):
                async with asyncio.timeout(0.1):
                    await fetch(upstream, chat(f"fault:{name}", stream=True))
            assert (upstream.statistics().in_use, upstream.statistics().waiting) == (0, 0)
            answer = json.loads(await fetch(upstream, chat()))
            assert answer["object"] == "chat.completion"

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_redirect_is_not_followed(run: Run) -> None:
    """A redirect is an answer like any other: nothing is sent to where it points."""

    async def scenario(fake: FakeUpstream, other: FakeUpstream) -> None:
        fake.script(script_named(f"redirect:{other.url}"))
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            assert response.status == 307
            response.release()
        assert other.requests == []

    with FakeUpstream() as fake, FakeUpstream() as other:
        run(scenario(fake, other))
