"""As much of HTTP/1.1 as a load generator needs: one request as bytes, the end of an answer."""

import json
import re
import socket
from dataclasses import dataclass, field

KEY = "sk-benchmark"
QUESTION = (
    "Which planet of the solar system is the largest, and how large is it compared with ours?"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True)
class ChatRequest:
    """The chat request that a contender is sent, the same each time.

    Attributes
    ----------
    path : str
    model : str
        What the contender calls the upstream's model.
    headers : dict of str to str
        Beside Host, Content-Type, Content-Length and the key.
    """

    path: str = "/v1/chat/completions"
    model: str = "chat"
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Return the headers of a request, but Host and Content-Length."""
        known = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        return {**known, **self.headers}

    def body(self, *, stream: bool = False) -> str:
        """Return the JSON body: about 230 bytes."""
        body = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": QUESTION},
            ],
            "temperature": 0.2,
        }
        return json.dumps({**body, "stream": True} if stream else body)

    def wire(self, *, stream: bool = False) -> bytes:
        """Return the whole request."""
        body = self.body(stream=stream).encode()
        headers = {"Host": "bench", **self.all_headers(), "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Answer:
    """Finds the end of one plain answer."""

    __slots__ = ("_buffer", "_missing")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._missing: int | None = None

    @property
    def ok(self) -> bool:
        """Say whether the status is 200."""
        return self._buffer.startswith(b"HTTP/1.1 200")

    @property
    def text(self) -> str:
        """Return what has arrived."""
        return self._buffer.decode("utf-8", "replace")

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when the answer is complete."""
        if not data:
            raise ConnectionError(f"cut after {bytes(self._buffer[:300])!r}")
        self._buffer += data
        if self._missing is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._buffer[: end + 2])
            length = _LENGTH.search(head)
            if length is None and not _CHUNKED.search(head):
                raise ConnectionError(f"an answer without a length: {head!r}")
            self._missing = -1 if length is None else end + 4 + int(length[1])
        if self._missing < 0:
            return self._buffer.endswith(b"0\r\n\r\n")
        return len(self._buffer) >= self._missing


def connect(port: int) -> socket.socket:
    """Return a connection to loopback without Nagle's delay."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Send a request and wait for all of its answer."""
    connection.sendall(request)
    answer = Answer()
    while not answer.feed(connection.recv(65_536)):
        pass
    return answer
