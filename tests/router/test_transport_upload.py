"""Request bodies that are not held: sent from their source, beside the answer."""

import asyncio

import pytest
from support.fake_upstream import FakeUpstream
from support.raw_server import Parts, raw_server, read_head
from support.transport_kit import LOOPS, Run, chat, client, fault_of, fetch, read_all, run_on

from router.errors import Reason, UpstreamFault
from router.upload import CONTINUE_WAIT_S
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def upload(source: Parts, *, expect: bool = False) -> UpstreamRequest:
    """Return a request with a body from a source."""
    return UpstreamRequest(b"POST", b"/files", [], source, expect_continue=expect)


@pytest.mark.parametrize("length", [9, None])
def test_a_source_is_sent_sized_or_chunked(run: Run, length: int | None) -> None:
    """A body of known length has Content-Length, one of unknown length is chunked."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            for _ in range(2):
                await fetch(upstream, upload(Parts(b"one", b"two", b"six", length=length)))
            assert fake.connections == 1
        for seen in fake.requests:
            assert seen.body == b"onetwosix"
            assert seen.header("content-length") == ("9" if length else None)
            assert seen.header("transfer-encoding") == (None if length else "chunked")

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize("length", [0, None])
def test_an_empty_source_is_an_empty_body(run: Run, length: int | None) -> None:
    """A source without a byte ends its request soundly."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, upload(Parts(length=length)))
            await fetch(upstream, chat())
        assert fake.requests[0].body == b""
        assert fake.connections == 1

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_slow_upstream_slows_its_source(run: Run) -> None:
    """A source is not read while the upstream takes nothing."""
    taking = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await taking.wait()
        await reader.readexactly(200 * 100_000)
        writer.write(OK)

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            source = Parts(*[bytes(100_000)] * 200, length=200 * 100_000)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(fetch(upstream, upload(source)))
                await asyncio.sleep(0.3)
                stalled_at = source.reads
                await asyncio.sleep(0.1)
                assert source.reads == stalled_at < 150
                taking.set()
            assert task.result() == b"ok"

    run(scenario())


def test_a_refusal_stops_the_upload(run: Run) -> None:
    """After a 4xx nothing more is read, the answer is given, the connection is not used again."""
    never = asyncio.Event()
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(TOO_LARGE)
        await never.wait()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            source = Parts(b"one", length=1000, pause=never)
            response = await upstream.send(upload(source), connect_timeout_s=2)
            assert response.status == 413
            assert await read_all(response) == b"no"
            assert upstream.statistics() == (0, 0, 0)
            await asyncio.sleep(0.01)
            assert len(upstream._tasks) == 0
        assert len(heads) == 1

    run(scenario())


def test_an_early_success_lets_the_upload_go_on(run: Run) -> None:
    """A 200 that comes before the body is sent is read while the rest is sent."""
    rest = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        writer.write(await reader.readexactly(3))
        writer.write(await reader.readexactly(3))
        await asyncio.sleep(0.05)

    class Late(Parts):
        async def read(self) -> bytes:
            """Give the second part only once the first was echoed."""
            if self.reads == 1:
                await rest.wait()
            return await super().read()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(
                upload(Late(b"one", b"two", length=6)), connect_timeout_s=2
            )
            assert await response.read() == b"one"
            rest.set()
            assert await read_all(response) == b"two"

    run(scenario())


def test_an_answer_done_with_ends_its_upload(run: Run) -> None:
    """Releasing an answer while the body is being sent closes the connection and stops reading."""
    never = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await never.wait()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(upload(Parts(b"one", pause=never)), connect_timeout_s=2)
            assert await read_all(response) == b"ok"
            assert upstream.statistics() == (0, 0, 0)
            await asyncio.sleep(0.01)
            assert len(upstream._tasks) == 0

    run(scenario())


@pytest.mark.parametrize("length", [1000, None])
def test_a_source_that_fails_cuts_the_connection(run: Run, length: int | None) -> None:
    """What a source raises comes out of `send`, and the upstream never takes it for the end."""
    ended = asyncio.Event()
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        try:
            received.append(await reader.read())
        except ConnectionError:
            received.append(b"")
        ended.set()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            source = Parts(b"one", length=length, error=LookupError("the client has gone"))
            with pytest.raises(LookupError, match="the client has gone"):
                await upstream.send(upload(source), connect_timeout_s=2)
            assert upstream.statistics() == (0, 0, 0)
            await ended.wait()
            assert not received[0].endswith(b"0\r\n\r\n")

    run(scenario())


@pytest.mark.parametrize(("length", "how"), [(5, "more"), (7, "less")])
def test_a_source_of_another_length_is_cut(run: Run, length: int, how: str) -> None:
    """More or less than the length that was announced never becomes part of another request."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, upload(Parts(b"one", b"two", length=length)))
            assert fault.reason is Reason.INVALID_REQUEST
            assert how in str(fault)
            assert upstream.statistics() == (0, 0, 0)
            # The cut may come before the fake has taken the connection at all.
            await asyncio.to_thread(fake.wait_for, "connections", 1)
            await asyncio.to_thread(fake.wait_until_idle)
        assert fake.requests == []

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_source_that_was_read_is_never_sent_again(run: Run) -> None:
    """A kept-alive connection that turns out to be dead is not replaced for a read source."""
    served = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await read_head(reader)
        await reader.readexactly(3)
        writer.write(OK)
        await read_head(reader)
        served += 1

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            await fetch(upstream, upload(Parts(b"one", length=3)))
            fault = await fault_of(upstream, upload(Parts(b"one", length=3)))
            assert (fault.reason, fault.sent) == (Reason.UPSTREAM_UNREACHABLE, True)
        assert served == 1

    run(scenario())


def test_a_source_that_was_not_read_may_be_sent_again(run: Run) -> None:
    """A dead kept-alive connection that was asked first is replaced: nothing was read yet."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_head(reader)
        writer.write(CONTINUE)
        await reader.readexactly(3)
        writer.write(OK)
        if connections == 1:
            await read_head(reader)

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            for _ in range(2):
                assert await fetch(upstream, upload(Parts(b"one", length=3), expect=True)) == b"ok"
        assert connections == 2

    run(scenario())


def test_the_body_waits_for_a_100(run: Run) -> None:
    """With `expect_continue` the source is read once the upstream said 100."""
    source = Parts(b"one", length=3)
    reads_before: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"Expect: 100-continue\r\n" in head
        await asyncio.sleep(0.05)
        reads_before.append(source.reads)
        writer.write(CONTINUE)
        await reader.readexactly(3)
        writer.write(OK)
        await read_head(reader)

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            assert await fetch(upstream, upload(source, expect=True)) == b"ok"
            assert upstream.statistics() == (0, 1, 0)
        assert reads_before == [0]

    run(scenario())


@pytest.mark.parametrize("final", [TOO_LARGE, OK])
def test_a_final_answer_in_place_of_100_spares_the_body(run: Run, final: bytes) -> None:
    """An answer that comes before 100 is given, and the source is never read."""
    source = Parts(b"one", length=3)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(final)
        assert await reader.read() == b""

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            assert len(await fetch(upstream, upload(source, expect=True))) == 2
            assert upstream.statistics() == (0, 0, 0)
        assert source.reads == 0

    run(scenario())


def test_an_upstream_that_never_says_100_gets_the_body(run: Run) -> None:
    """The wait for 100 is bounded."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            await fetch(upstream, upload(Parts(b"one", length=3), expect=True))
            assert loop.time() - started_s > CONTINUE_WAIT_S - 0.1
        assert fake.requests[0].body == b"one"

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_a_cancelled_upload_leaves_nothing_behind(run: Run) -> None:
    """Cancelling a call whose source waits ends the reading task and frees the slot."""
    never = asyncio.Event()

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await upstream.send(upload(Parts(b"one", pause=never)), connect_timeout_s=2)
            await asyncio.sleep(0.01)
            assert upstream.statistics() == (0, 0, 0)
            assert len(upstream._tasks) == 0

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_closing_ends_uploads(run: Run) -> None:
    """`aclose` in the middle of an upload cuts it; who waits gets a fault."""
    never = asyncio.Event()

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream, asyncio.TaskGroup() as group:
            call = upload(Parts(b"one", pause=never))
            waiting = group.create_task(fault_of(upstream, call))
            await asyncio.sleep(0.05)
            await upstream.aclose()
            assert isinstance(await waiting, UpstreamFault)

    with FakeUpstream() as fake:
        run(scenario(fake))
