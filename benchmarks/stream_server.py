"""An upstream that streams: N chunks of a chat answer, one every INTERVAL seconds.

Each chunk's content says `STREAM:NUMBER:NANOSECONDS;`, the last one being CLOCK_MONOTONIC when it
was sent. One thread and one send(2) a chunk: it must cost less than what it measures.
"""

import argparse
import gc
import heapq
import select
import socket
import time
from contextlib import suppress

from nginx import ANSWER, MODELS

_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"chat",'
    b'"choices":[{"index":0,"delta":{"content":"%d:%d:%d;"},"finish_reason":null}]}\n\n'
)
_LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"chat",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_TICK_S = 0.001


def _framed(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


class Client:
    """One connection: what it has asked and what it has not taken yet."""

    __slots__ = ("connection", "read", "unsent")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.read = b""
        self.unsent = bytearray()

    def take_request(self) -> tuple[bytes, bytes] | None:
        """Return request line and body of the next complete request."""
        head, end, rest = self.read.partition(b"\r\n\r\n")
        if not end:
            return None
        after = head.lower().partition(b"\r\ncontent-length:")[2]
        length = int(after.partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return None
        self.read = rest[length:]
        return head.partition(b"\r\n")[0], rest[:length]

    def send(self, data: bytes) -> None:
        """Send what goes; the rest goes with the next chunk or when there is room."""
        if self.unsent:
            self.unsent += data
            data = bytes(self.unsent)
        try:
            sent = self.connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)
        if self.unsent or sent < len(data):
            self.unsent[:] = data[sent:]


class PacedServer:
    """Answers until killed."""

    def __init__(self, port: int, chunks: int, interval_s: float) -> None:
        self._chunks = chunks
        self._interval_s = interval_s
        self._listening = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listening.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listening, select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._due: list[tuple[float, int, int, Client]] = []
        self._streams = 0

    def serve(self) -> None:
        """Send each chunk when it is due, to within about a millisecond."""
        while True:
            wait_s = self._due[0][0] - time.monotonic() if self._due else 1.0
            for number, _ in self._poll.poll(max(0.0, min(wait_s, _TICK_S if self._due else 1.0))):
                if number == self._listening.fileno():
                    self._accept()
                else:
                    self._receive(self._clients[number])
            now_s = time.monotonic()
            while self._due and self._due[0][0] <= now_s:
                self._send_next(*heapq.heappop(self._due))

    def _accept(self) -> None:
        """Take all who wait: one a turn would be few, as turns are long with many streams."""
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listening.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients[connection.fileno()] = Client(connection)
                self._poll.register(connection, select.EPOLLIN)

    def _receive(self, client: Client) -> None:
        try:
            data = client.connection.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(client.connection)
            del self._clients[client.connection.fileno()]
            client.connection.close()
            return
        client.read += data
        while (request := client.take_request()) is not None:
            self._answer(client, *request)

    def _answer(self, client: Client, line: bytes, body: bytes) -> None:
        if b'"stream":true' in body.replace(b" ", b""):
            client.send(_HEAD)
            heapq.heappush(self._due, (time.monotonic(), self._streams, 0, client))
            self._streams += 1
            return
        text = (MODELS if b"/models" in line else ANSWER).encode()
        client.send(_JSON % (len(text), text))

    def _send_next(self, due_s: float, stream: int, number: int, client: Client) -> None:
        if client.connection.fileno() < 0:
            return
        if number < self._chunks:
            client.send(_framed(_CHUNK % (stream, number, time.monotonic_ns())))
        elif number == self._chunks:
            client.send(_framed(_LAST) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        else:
            client.send(b"")
        if number < self._chunks or client.unsent:
            following = (due_s + self._interval_s, stream, number + 1, client)
            heapq.heappush(self._due, following)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("chunks", type=int)
    parser.add_argument("interval_s", type=float)
    options = parser.parse_args()
    gc.disable()  # nothing here makes cycles, and its pauses would be measured as delay
    PacedServer(options.port, options.chunks, options.interval_s).serve()
