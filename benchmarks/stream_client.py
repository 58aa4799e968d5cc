"""Many streams at once, each chunk's way timed; read by one thread with epoll."""

import gc
import re
import select
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httptools
from contender import Contender
from processes import free_port, running
from wire import connect

INTERVAL_S = 0.02
TICK_S = 0.001
"""What has arrived is read so often: to be woken by every chunk would cost the machine more than
the gateway does, and what this adds to a delay is a twentieth of an interval, to all alike."""

_STAMP = re.compile(rb'"content": ?"(\d+):(\d+):(\d+);"')


@dataclass
class Streams:
    """What arrived of one load.

    Attributes
    ----------
    expected, received : int
        Chunks.
    disordered : int
        Chunks that came twice, out of order or in another stream.
    cut : int
        Streams that ended without ``[DONE]``.
    delay_s : list of float
        From a chunk's being sent to its being read, upstream to client, in no order.
    wall_s : float
        From the first request to the last chunk.
    """

    expected: int = 0
    received: int = 0
    disordered: int = 0
    cut: int = 0
    delay_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def lost(self) -> int:
        """Chunks that never came."""
        return self.expected - self.received


class _Body:
    """Collects the body of one answer, as httptools finds it."""

    def __init__(self) -> None:
        self.text = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.text += data

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


@contextmanager
def stream_upstream(chunks: int) -> Iterator[int]:
    """Run the paced upstream; give its port."""
    port = free_port()
    script = Path(__file__).with_name("stream_server.py")
    with ExitStack() as stack:
        command = [sys.executable, str(script), str(port), str(chunks), str(INTERVAL_S)]
        stack.enter_context(running(command, port=port))
        yield port


def stream(contender: Contender, streams: int, chunks: int, timeout_s: float = 120.0) -> Streams:
    """Run so many streams at once, begun evenly over a second, and check every chunk."""
    gc.collect()
    start_s = time.monotonic()
    gc.disable()  # its pauses would be measured as delay
    try:
        received, cut = _receive(contender, streams, timeout_s)
    finally:
        gc.enable()
    wall_s = time.monotonic() - start_s
    found = Streams(expected=streams * chunks, cut=cut, wall_s=wall_s)
    for parts in received:
        _check(parts, found)
    return found


def _receive(
    contender: Contender, streams: int, timeout_s: float
) -> tuple[list[list[tuple[int, bytes]]], int]:
    """Return what each stream's connection gave and when, and how many never ended."""
    request = contender.request.wire(stream=True)
    poll = select.epoll()
    parts: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
    open_now: dict[int, socket.socket] = {}
    start_s, started = time.monotonic(), 0
    while (started < streams or open_now) and time.monotonic() < start_s + timeout_s:
        while started < streams and time.monotonic() >= start_s + started / streams:
            connection = connect(contender.port)
            connection.sendall(request)
            poll.register(connection, select.EPOLLIN)
            open_now[connection.fileno()] = connection
            started += 1
        time.sleep(TICK_S)
        for number, _ in poll.poll(0):
            data = open_now[number].recv(65_536)
            # Connections are not closed before the end, so their numbers stay their own.
            parts[number].append((time.monotonic_ns(), data))
            # The end of a chunked body may itself come in pieces.
            tail = data if len(data) > 4 else b"".join(part for _, part in parts[number][-5:])
            if not data or tail.endswith(b"0\r\n\r\n"):
                poll.unregister(number)
                open_now.pop(number).detach()
    for number in parts:
        socket.close(number)
    return list(parts.values()), len(open_now)


def _check(received: list[tuple[int, bytes]], found: Streams) -> None:
    """Take one connection's chunks into account."""
    body, start, own, following = _Body(), 0, -1, 0
    for at_ns, data in received:
        body.feed(data)
        for stamp in _STAMP.finditer(body.text, start):
            number, order, sent_ns = (int(digits) for digits in stamp.groups())
            own = number if own < 0 else own
            found.received += 1
            found.disordered += number != own or order != following
            found.delay_s.append((at_ns - sent_ns) / 1e9)
            following, start = order + 1, stamp.end()
    found.cut += b"[DONE]" not in body.text
