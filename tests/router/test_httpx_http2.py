"""What becomes of an HTTP/2 connection when an answer is given up, or is none."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded, StreamReset
from support.raw_server import raw_server
from support.transport_kit import LOOPS, Run, run_on

from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.httpx_upstream import HttpxUpstream
from router.upstream import UpstreamRequest

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

H2Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ANSWER_BYTES = 4_000_000
NO_FRAME = b"\0\0\1\0\0\0\0\0\0x"
"""Data of stream 0, which cannot have any."""


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Load the libraries before a loop runs: it happens once in a process, and reads files."""
    HttpxUpstream(UpstreamConfig(name="u", url="http://h", http2=True))


def post(target: bytes = b"/x") -> UpstreamRequest:
    """Return a small request."""
    return UpstreamRequest(b"POST", target, [], b"{}")


async def _whole(upstream: HttpxUpstream) -> int:
    """Return the size of an answer that is read to its end."""
    response = await upstream.send(post(), connect_timeout_s=2)
    size = 0
    try:
        while chunk := await response.read():
            size += len(chunk)
    finally:
        response.release()
    return size


class FloodServer:
    """Answers streams with 4 MB as far as their window reaches; those beyond `heard` with none.

    Attributes
    ----------
    resets : Queue of int
        Streams that the client gave up.
    """

    def __init__(self, heard: int = 1_000) -> None:
        self.resets: asyncio.Queue[int] = asyncio.Queue()
        self._heard = heard
        self._left: dict[int, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        h2 = H2Connection(config=H2Configuration(client_side=False))
        h2.initiate_connection()
        writer.write(h2.data_to_send())
        while data := await reader.read(65536):
            for event in h2.receive_data(data):
                if isinstance(event, StreamEnded) and event.stream_id <= self._heard:
                    h2.send_headers(event.stream_id, [(":status", "200")])
                    self._left[event.stream_id] = ANSWER_BYTES
                elif isinstance(event, StreamReset):
                    self.resets.put_nowait(event.stream_id)
                    self._left.pop(event.stream_id, None)
            self._send(h2)
            writer.write(h2.data_to_send())

    def _send(self, h2: H2Connection) -> None:
        for number in list(self._left):
            while self._left[number]:
                size = min(h2.local_flow_control_window(number), 16_384, self._left[number])
                if size <= 0:
                    break
                self._left[number] -= size
                h2.send_data(number, bytes(size), end_stream=not self._left[number])
            if not self._left[number]:
                del self._left[number]


def test_answers_given_up_do_not_use_up_the_connection(run: Run) -> None:
    """After more than a connection's 16 MiB that nobody read, the next answer arrives whole."""
    server = FloodServer()

    async def scenario() -> None:
        async with raw_server(server.serve) as port:
            config = UpstreamConfig(name="u", url=f"http://127.0.0.1:{port}", http2=True)
            upstream = HttpxUpstream(config)
            for _ in range(7):
                response = await upstream.send(post(), connect_timeout_s=2)
                assert await response.read()
                response.release()
                await asyncio.sleep(0.01)
            assert await _whole(upstream) == ANSWER_BYTES
            await upstream.aclose()

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    run(bounded())


def test_the_upstream_is_told_of_a_call_given_up(run: Run) -> None:
    """A call cancelled before its answer resets its stream; the connection goes on."""
    server = FloodServer(heard=1)

    async def scenario() -> None:
        async with raw_server(server.serve) as port:
            config = UpstreamConfig(name="u", url=f"http://127.0.0.1:{port}", http2=True)
            upstream = HttpxUpstream(config)
            assert await _whole(upstream) == ANSWER_BYTES
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await upstream.send(post(), connect_timeout_s=2)
            assert await asyncio.wait_for(server.resets.get(), 2) == 3
            assert upstream.statistics() == (0, 0, 0)
            await upstream.aclose()

    run(scenario())


def _loose(answer: Callable[[H2Connection, int], None], tail: bytes = b"") -> H2Server:
    """Return a server that does not check what it says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = H2Configuration(
            client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        h2 = H2Connection(config=config)
        h2.initiate_connection()
        while data := await reader.read(65536):
            for event in h2.receive_data(data):
                if isinstance(event, StreamEnded):
                    answer(h2, event.stream_id)
                    writer.write(h2.data_to_send() + tail)
            writer.write(h2.data_to_send())

    return serve


@pytest.mark.parametrize(
    ("fields", "tail"),
    [
        ([(":status", "200"), ("x-a", "1\r\nx-b: 2")], b""),
        ([(":status", "200"), ("content-length ", "2")], b""),
        ([(":status", "abc")], b""),
        ([(":status", "200")], NO_FRAME),
        ([], NO_FRAME),
    ],
    ids=["line break", "space in a name", "no number", "no frame in a body", "no frame"],
)
def test_what_is_not_http2_is_the_upstreams_fault(
    run: Run, fields: list[tuple[str, str]], tail: bytes
) -> None:
    """Fields no answer can hold, and broken frames, are UPSTREAM_INVALID wherever they come."""

    def answer(h2: H2Connection, number: int) -> None:
        if fields:
            h2.send_headers(number, fields)

    async def scenario() -> None:
        async with raw_server(_loose(answer, tail)) as port:
            config = UpstreamConfig(name="u", url=f"http://127.0.0.1:{port}", http2=True)
            upstream = HttpxUpstream(config)
            with pytest.raises(UpstreamFault) as caught:
                await _whole(upstream)
            assert caught.value.reason is Reason.UPSTREAM_INVALID
            assert caught.value.sent
            await upstream.aclose()
            assert upstream.statistics() == (0, 0, 0)

    run(scenario())
