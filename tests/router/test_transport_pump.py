"""Chunks handed on from the connection's callback."""

import asyncio
import socket
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_answers import CLOSE, Pause
from support.fake_upstream import FakeUpstream
from support.raw_server import raw_server, read_head
from support.transport_kit import LOOPS, Run, chat, client, raw, read_all, run_on

from router.errors import Reason, UpstreamFault
from router.http_connection import BUFFER_BYTES, HttpConnection
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE, TWO, THREE, END = b"3\r\none\r\n", b"3\r\ntwo\r\n", b"5\r\nthree\r\n", b"0\r\n\r\n"


class Sink:
    """Collects chunks; asks for a pause after those whose numbers it was given."""

    def __init__(self, *pauses: int) -> None:
        self.chunks: list[bytes] = []
        self.tasks: set[object] = set()
        self._pauses = pauses

    def __call__(self, chunk: bytes) -> bool:
        """Take a chunk."""
        self.chunks.append(chunk)
        self.tasks.add(asyncio.current_task())
        return len(self.chunks) not in self._pauses


def test_pump_hands_over_what_waits_and_what_comes(run: Run) -> None:
    """Chunks from before and after the pump's start come in order, and the connection is kept."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            await asyncio.sleep(0.02)
            sink = Sink()
            await response.pump(sink)
            response.release()
            assert sink.chunks == [b"one", b"two", b"three"]
            # What came later was handed over from the loop's callback, by no task.
            assert None in sink.tasks
            assert upstream.statistics() == (0, 1, 0)

    with FakeUpstream(raw(CHUNKED + ONE, Pause(0.1), TWO, Pause(0.02), THREE + END)) as fake:
        run(scenario(fake))


def test_a_whole_answer_that_waits_is_pumped_at_once(run: Run) -> None:
    """A body that is complete already is handed over, and the pump returns."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            await asyncio.sleep(0.02)
            sink = Sink()
            await response.pump(sink)
            response.release()
            assert sink.chunks == [b"one", b"two"]

    with FakeUpstream(raw(CHUNKED + ONE + TWO + END)) as fake:
        run(scenario(fake))


@pytest.mark.parametrize("waits_s", [0.0, 0.05])
def test_a_pause_lasts_until_resume(run: Run, waits_s: float) -> None:
    """After False nothing is handed over before `resume`; then all of it is, in order."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            await asyncio.sleep(waits_s)
            sink = Sink(1, 2)
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(response.pump(sink))
                for count in (1, 2):
                    await asyncio.sleep(0.1)
                    assert len(sink.chunks) == count
                    assert not pump.done()
                    response.resume()
            response.release()
            assert sink.chunks == [b"one", b"two", b"three"]

    with FakeUpstream(raw(CHUNKED + ONE + TWO, Pause(0.02), THREE + END)) as fake:
        run(scenario(fake))


def test_resume_from_inside_the_sink_is_not_lost(run: Run) -> None:
    """A sink that learns at once that it may go on, and says False all the same, goes on."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            chunks: list[bytes] = []

            def sink(chunk: bytes) -> bool:
                chunks.append(chunk)
                response.resume()
                return False

            await response.pump(sink)
            response.release()
            assert chunks == [b"one", b"two", b"three"]

    with FakeUpstream(raw(CHUNKED + ONE, Pause(0.05), TWO + THREE + END)) as fake:
        run(scenario(fake))


def test_a_stopped_sink_never_grows_memory(run: Run) -> None:
    """A fast upstream is slowed down once 256 KiB wait for a sink that stopped."""
    sent_bytes = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            sent_bytes += 100_000
            await writer.drain()

    async def scenario() -> None:
        async with raw_server(answer) as port, client(f"http://127.0.0.1:{port}/v1") as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            sink = Sink(1)
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(response.pump(sink))
                await asyncio.sleep(0.3)
                stalled_at = sent_bytes
                await asyncio.sleep(0.1)
                assert sent_bytes == stalled_at < 20_000_000
                # One read of the loop may come on top: 256 KiB, too.
                assert response.buffered_bytes <= 2 * BUFFER_BYTES + 65_536
                response.resume()
                await pump
            response.release()
            assert sum(map(len, sink.chunks)) == 100_000_000

    run(scenario())


@pytest.mark.parametrize("first_pause_s", [0.0, 0.05])
def test_an_error_of_the_sink_comes_out_of_the_pump(run: Run, first_pause_s: float) -> None:
    """What a sink raises, for a chunk that waited or one that came, ends the pump."""

    def sink(chunk: bytes) -> bool:
        chunks.append(chunk)
        raise LookupError("no such thing")

    chunks: list[bytes] = []

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            with pytest.raises(LookupError, match="no such thing"):
                await response.pump(sink)
            response.release()
            assert chunks == [b"one"]
            assert upstream.statistics().in_use == 0

    with FakeUpstream(raw(CHUNKED, Pause(first_pause_s), ONE + TWO + END)) as fake:
        run(scenario(fake))


def test_stop_ends_a_pump_from_a_timer(run: Run) -> None:
    """A pump that nothing comes for returns when it is stopped, and raises what it is told."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            loop, sink = asyncio.get_running_loop(), Sink()
            response.stop(UpstreamFault("nobody hears this", reason=Reason.INTERNAL))
            loop.call_later(0.05, response.stop)
            await response.pump(sink)
            fault = UpstreamFault("too slow", reason=Reason.STREAM_TIMEOUT)
            loop.call_later(0.05, response.stop, fault)
            with pytest.raises(UpstreamFault, match="too slow"):
                await response.pump(sink)
            response.release()
            assert sink.chunks == [b"one"]
            assert upstream.statistics() == (0, 0, 0)

    with FakeUpstream(raw(CHUNKED + ONE, Pause(10))) as fake:
        run(scenario(fake))


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_stop_from_inside_the_sink_leaves_the_rest(run: Run, pause_s: float) -> None:
    """A sink that stops its pump is not called again; what came meanwhile can be read."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            chunks: list[bytes] = []

            def sink(chunk: bytes) -> bool:
                chunks.append(chunk)
                response.stop()
                return True

            await response.pump(sink)
            assert chunks == [b"one"]
            assert await read_all(response) == b"twothree"
            assert upstream.statistics() == (0, 1, 0)

    with FakeUpstream(raw(CHUNKED, Pause(pause_s), ONE + TWO + THREE + END)) as fake:
        run(scenario(fake))


def test_reading_goes_on_after_a_pump_that_was_stopped_in_a_pause(run: Run) -> None:
    """A pause ends with its pump."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            asyncio.get_running_loop().call_later(0.05, response.stop)
            await response.pump(Sink(1))
            assert await read_all(response) == b"twothree"

    with FakeUpstream(raw(CHUNKED + ONE, Pause(0.1), TWO + THREE + END)) as fake:
        run(scenario(fake))


def test_a_cut_is_raised_after_what_came_before_it(run: Run) -> None:
    """A pump hands over what arrived, then raises as `read` does; a pause changes neither."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            sink = Sink(1)
            asyncio.get_running_loop().call_later(0.1, response.resume)
            with pytest.raises(UpstreamFault, match="cut the answer short"):
                await response.pump(sink)
            assert sink.chunks == [b"one", b"two"]
            response.release()

    with FakeUpstream(raw(CHUNKED + ONE + TWO, CLOSE)) as fake:
        run(scenario(fake))


def test_a_cancelled_pump_calls_no_more(run: Run) -> None:
    """A pump whose task is cancelled hands nothing over afterwards."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat(), connect_timeout_s=2)
            sink = Sink()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await response.pump(sink)
            await asyncio.sleep(0.1)
            assert sink.chunks == [b"one"]
            response.release()

    with FakeUpstream(raw(CHUNKED + ONE, Pause(0.1), TWO + END)) as fake:
        run(scenario(fake))


def test_requests_are_not_held_back_by_nagle(run: Run) -> None:
    """TCP_NODELAY is set on every connection."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await read_all(await upstream.send(chat(), connect_timeout_s=2))
            (connection,) = upstream._pool._idle
            assert connection._transport is not None
            peer = connection._transport.get_extra_info("socket")
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with FakeUpstream() as fake:
        run(scenario(fake))


class Wire(asyncio.Transport):
    """A transport that nothing is behind."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket(socket.AF_UNIX)})

    def write(self, data: object) -> None:
        """Forget."""

    def is_closing(self) -> bool:
        """Say no."""
        return False

    def get_write_buffer_size(self) -> int:
        """Say that everything is sent."""
        return 0

    def abort(self) -> None:
        """Stay."""

    def pause_reading(self) -> None:
        """Go on all the same."""

    def resume_reading(self) -> None:
        """Go on."""


class Nobody:
    """Owns connections and does not care."""

    def give_back(self, connection: HttpConnection, *, reusable: bool) -> None:
        """Note whether the connection is sound."""
        self.reusable = reusable

    def forget(self, connection: HttpConnection) -> None:
        """Do nothing."""


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_pumped_is_what_was_sent(data: st.DataObject) -> None:
    """Any body, framed either way, cut anywhere, with pauses anywhere, arrives byte for byte."""
    parts = data.draw(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
    body, sized = b"".join(parts), data.draw(st.booleans())
    if sized:
        wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    else:
        framed = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        wire = CHUNKED + b"".join(framed) + b"0\r\nX-Trailer: 1\r\n\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12))
    pieces = [wire[start:end] for start, end in pairwise(sorted({0, len(wire), *cuts}))]
    moves = data.draw(st.lists(st.sampled_from(["arrive", "turn", "resume"]), max_size=40))
    pauses = data.draw(st.sets(st.integers(1, 20)))

    async def scenario() -> None:
        owner = Nobody()
        connection = HttpConnection("u", owner, asyncio.get_running_loop())
        transport = Wire()
        connection.connection_made(transport)
        response = connection.start(b"", UpstreamRequest(b"GET", b"/"))
        sink, waiting = Sink(*pauses), list(pieces)
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(response.pump(sink))
            for move in moves:
                if move == "turn":
                    await asyncio.sleep(0)
                elif move == "resume":
                    response.resume()
                elif waiting:
                    connection.data_received(waiting.pop(0))
            for piece in waiting:
                connection.data_received(piece)
            while not pump.done():
                response.resume()
                await asyncio.sleep(0)
        response.release()
        cast("socket.socket", transport.get_extra_info("socket")).close()
        assert b"".join(sink.chunks) == body
        assert owner.reusable

    asyncio.run(scenario())
