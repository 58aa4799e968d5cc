"""Clients that send again as soon as they are answered, and an upstream that costs next to nothing.

Both in one event loop: together they take a fraction of what the gateway between them takes, so
that its processor is what limits them.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self, cast

BODY = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}]}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
_CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "hello to you"},
    "finish_reason": "stop",
}
_ANSWER_BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [_CHOICE],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_ANSWER_BODY),
    _ANSWER_BODY,
)
_END = b"}}"  # of the answer, and of the gateway's own errors


@dataclass
class Hammered:
    """What came of hammering.

    Attributes
    ----------
    statuses : Counter of int
    longest_s : float
        That an answer took.
    served : int
        Connections that had at least one answer.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0
    served: int = 0


class _Upstream(asyncio.Protocol):
    """Answers each request alike."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._last = b""

    def data_received(self, data: bytes) -> None:
        self._last = (self._last + data)[-len(BODY) :]
        if self._last == BODY:
            self._last = b""
            self._transport.write(_ANSWER)


class _Client(asyncio.Protocol):
    """Sends the next request when it has the answer to the one before."""

    def __init__(self, seen: Hammered) -> None:
        self._seen = seen
        self._answer = b""
        self._sent_s = 0.0
        self._answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(_END):
            return
        seen = self._seen
        seen.statuses[int(self._answer[9:12])] += 1
        seen.longest_s = max(seen.longest_s, time.monotonic() - self._sent_s)
        seen.served += not self._answers
        self._answers += 1
        self._answer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport.abort()

    def close(self) -> None:
        """Send no more."""
        self._transport.abort()

    def _send(self) -> None:
        self._sent_s = time.monotonic()
        self._transport.write(REQUEST)


class Hammer:
    """Async context manager around the upstream.

    Attributes
    ----------
    url : str
        Of the upstream.
    """

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(_Upstream, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def run(self, url: str, connections: int, duration_s: float) -> Hammered:
        """Hammer a gateway with so many connections for so long."""
        loop, seen = asyncio.get_running_loop(), Hammered()
        host, port = url.removeprefix("http://").split(":")
        clients = []
        for _ in range(connections):
            made = loop.create_connection(lambda: _Client(seen), host, int(port))
            clients.append((await made)[1])
        await asyncio.sleep(duration_s)
        for client in clients:
            client.close()
        return seen
