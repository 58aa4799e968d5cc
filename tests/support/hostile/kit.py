"""A worker as production runs it, a client that may say anything to it, and rows of what it says.

A `Row` is one hostile input and the class of answer it must get. `check` plays it on a connection
of its own, bounded in time, and looks at three sides: what the client reads, whether the
connection lives on, and what reached the upstream.
"""

import asyncio
import contextlib
import json
import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop
from support.fake_upstream import FakeUpstream
from support.raw_client import Answer
from support.worker import RunningWorker, work

from gateway.worker import WorkerOptions

BOUND_S = 10.0
"""Longest that anything may take: a hang, not a slow machine, is what fails."""

CHAT = b"/v1/chat/completions"
MESSAGES = b"/v1/messages"
HOST = b"Host: h\r\n"
JSON = b"Content-Type: application/json\r\n"
GOOD_BODY = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
SMUGGLED = b"POST /v1/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
"""A request that no row may bring to life."""

CONFIG = """
gateway: {{limits: {{body_bytes: 4194304}}}}
upstreams: {{a: {{url: "{url}", api_key: sk-of-the-upstream}}}}
routes:
  chat: {{split: {{a: 1.0}}, timeouts: {{first_token: 2s, total: 3s}}}}
  "*": {{split: {{a: 1.0}}, timeouts: {{first_token: 2s, total: 3s}}}}
"""
_TRACES = ("smuggled", "injected")
Status = int | frozenset[int]


def one_of(*statuses: int) -> frozenset[int]:
    """Return statuses that are equally right."""
    return frozenset(statuses)


@dataclass(frozen=True, slots=True)
class Row:
    """One hostile input.

    Attributes
    ----------
    sent : bytes or callable
        On a fresh connection; callables make what is too large to keep.
    expect : tuple of Status
        Statuses of all the answers in order; empty: closed without a word.
    says : str
        A pattern that the last answer's error message matches: it names the thing.
    closes : bool
        The connection ends after the last answer; otherwise it must still serve.
    reaches : int
        Requests that the upstream sees; none where the answer is a refusal after all.
    head : bool
        The request is a HEAD: its answer has no body.
    """

    name: str
    sent: bytes | Callable[[], bytes]
    expect: tuple[Status, ...] = (400,)
    says: str = ""
    closes: bool = False
    reaches: int = 0
    head: bool = False

    @property
    def data(self) -> bytes:
        """Return the bytes to send."""
        return self.sent if isinstance(self.sent, bytes) else self.sent()


def get(target: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    """Return a request without a body; fields without line ends."""
    lines = b"".join(one + b"\r\n" for one in fields)
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, target, HOST, lines)


def post(body: bytes = GOOD_BODY, target: bytes = CHAT, *fields: bytes) -> bytes:
    """Return a request with a JSON body and its length; a Content-Type among `fields` wins."""
    lines = b"".join(one + b"\r\n" for one in fields)
    kind = b"" if b"content-type:" in lines.lower() else JSON
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\n%b%b%b%b\r\n%b" % (target, HOST, kind, length, lines, body)


class HostileWorker(RunningWorker):
    """A worker on the event loop that serves in production."""

    def _run(self) -> None:
        options = WorkerOptions("w0", self.data_dir, self._listening, self._theirs)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(work(options))
        except BaseException as error:  # noqa: BLE001  (reported by `stop`)
            self._failure = error


@dataclass(slots=True)
class Heard:
    """What a client read from one connection: whole answers, the rest, and whether it ended."""

    answers: list[Answer] = field(default_factory=list)
    rest: bytes = b""
    ended: bool = False


class Wire:
    """One connection of a client without manners; every wait has a bound.

    `head` says that answers have no body, `parse` that they are looked at, at all.
    """

    def __init__(self, port: int, *, head: bool = False, parse: bool = True) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=BOUND_S)
        self._socket.setblocking(False)
        self.head = head
        self._parse = parse
        self.heard = Heard()

    def talk(self, data: bytes, *, answers: int | None, bound_s: float = BOUND_S) -> Heard:
        """Send bytes while reading, until so many answers came in all or the connection ended.

        Raises
        ------
        TimeoutError
            Neither happened in time: the gateway hangs.
        """
        heard, left = self.heard, memoryview(data)
        deadline_s = time.monotonic() + bound_s
        while not heard.ended and (answers is None or len(heard.answers) < answers):
            wait_s = deadline_s - time.monotonic()
            writers = [self._socket] if left else []
            readable, writable, _ = select.select([self._socket], writers, [], max(0.0, wait_s))
            if not readable and not writable:
                raise TimeoutError(f"neither an answer nor an end; heard {heard}")
            if writable:
                left = self._send(left)
            if readable:
                self._receive()
        return heard

    def deliver(self, data: bytes) -> None:
        """Send bytes whatever comes back, unless the connection has ended."""
        left = memoryview(data)
        deadline_s = time.monotonic() + BOUND_S
        while left and not self.heard.ended:
            readable, writable, _ = select.select([self._socket], [self._socket], [], BOUND_S)
            assert time.monotonic() < deadline_s, "nothing is taken"
            if writable:
                left = self._send(left)
            if readable:
                self._receive()

    def poll(self) -> None:
        """Read what is there, without waiting."""
        if not self.heard.ended and select.select([self._socket], [], [], 0)[0]:
            self._receive()

    def finish_sending(self) -> None:
        """Send FIN."""
        with contextlib.suppress(OSError):  # It may be gone already.
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close, with a reset if something is unread."""
        self._socket.close()

    def _send(self, left: memoryview) -> memoryview:
        try:
            return left[self._socket.send(left) :]
        except BlockingIOError:
            return left
        except (BrokenPipeError, ConnectionResetError):
            # Refused while sending; what was said before can still be read.
            return left[:0]

    def _receive(self) -> None:
        heard = self.heard
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            heard.ended = True
            return
        if not data:
            heard.ended = True
            return
        heard.rest += data
        while self._parse and (answer := self._next()) is not None:
            heard.answers.append(answer)

    def _next(self) -> Answer | None:
        """Take the next final answer off the bytes read; interim ones are skipped."""
        while True:
            head, found, rest = self.heard.rest.partition(b"\r\n\r\n")
            if not found:
                return None
            status, headers = _parse_head(head)
            if 100 <= status < 200:
                self.heard.rest = rest
                continue
            body = (b"", rest) if self.head else _take_body(headers, rest)
            if body is None:
                return None
            self.heard.rest = body[1]
            return Answer(status, headers, body[0])


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    assert re.fullmatch(r"HTTP/1\.1 [1-5]\d\d [ -~]*", first), first
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon, line
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value), line
        headers[name.lower()] = value
    return int(first[9:12]), headers


def _take_body(headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes] | None:
    if "content-length" in headers:
        length = int(headers["content-length"])
        return (rest[:length], rest[length:]) if len(rest) >= length else None
    assert headers.get("transfer-encoding") == "chunked", headers
    body = b""
    while True:
        size_line, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        size = int(size_line, 16)
        if len(rest) < size + 2:
            return None
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return body, rest


def check_error(answer: Answer, *, anthropic: bool = False, says: str = "") -> None:
    """Check that an answer is an error in the shape of its API, with a message that helps."""
    assert answer.headers["content-type"].startswith("application/json"), answer
    body = json.loads(answer.body)
    error = body["error"]
    if anthropic:
        assert body["type"] == "error", body
        assert isinstance(error["type"], str), body
    else:
        assert set(body) == {"error"}, body
        assert set(error) == {"message", "type", "param", "code"}, body
        assert all(error[key] is None or isinstance(error[key], str) for key in error), body
    message = error["message"]
    assert len(message) > 10, body
    assert not re.search(r"Traceback|callback error|\.py\b|0x[0-9a-f]{6,}|object at", message), body
    assert re.search(says, message, re.IGNORECASE), f"{says!r} is not in {message!r}"


def check(row: Row, worker: RunningWorker, upstream: FakeUpstream) -> None:
    """Play a row, and check every side of it."""
    upstream.requests.clear()
    wire = Wire(worker.port, head=row.head)
    try:
        data = row.data
        heard = wire.talk(data, answers=None if row.closes else len(row.expect))
        statuses = [answer.status for answer in heard.answers]
        assert len(statuses) == len(row.expect), heard
        for status, wanted in zip(statuses, row.expect, strict=True):
            assert status in wanted if isinstance(wanted, frozenset) else status == wanted, heard
        _check_bodies(row, heard, anthropic=_is_anthropic(data))
        assert not heard.rest, heard
        if row.closes:
            assert heard.ended
        else:
            wire.head = False
            after = wire.talk(ALIVE, answers=len(row.expect) + 1)
            assert len(after.answers) == len(row.expect) + 1, f"the connection ended: {after}"
            assert after.answers[-1].status == 200, after
    finally:
        wire.close()
    check_nothing_smuggled(upstream)
    served = heard.answers[len(row.expect) - 1].status < 400 if row.expect else False
    assert len(upstream.requests) == (row.reaches if served else 0), upstream.requests


def check_nothing_smuggled(upstream: FakeUpstream) -> None:
    """Check that nothing hidden in a request became one, or a field of one."""
    for seen in upstream.requests:
        texts = [seen.target, *(f"{name}" for name, _ in seen.headers)]
        assert not any(trace in text.lower() for trace in _TRACES for text in texts), seen


def _check_bodies(row: Row, heard: Heard, *, anthropic: bool) -> None:
    for number, answer in enumerate(heard.answers):
        if answer.status >= 400 and not row.head:
            last = number == len(heard.answers) - 1
            check_error(answer, anthropic=anthropic, says=row.says if last else "")


def _is_anthropic(data: bytes) -> bool:
    target = data[:2048].partition(b"\r\n")[0].split(b" ")
    return len(target) > 1 and target[1].partition(b"?")[0].startswith(MESSAGES)
