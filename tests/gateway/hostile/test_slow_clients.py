"""Clients that hold on to a connection: every wait for them has a bound."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import ALIVE, CHAT, GOOD_BODY, HostileWorker, Wire, check_error
from support.worker import RunningWorker

CONFIG = """
gateway:
  limits:
    header_timeout: 300ms
    body_timeout: 300ms
    keep_alive: 300ms
    connections: 300
upstreams: {{a: {{url: "{url}"}}}}
routes: {{"*": {{split: {{a: 1.0}}}}}}
"""
HEAD = b"POST " + CHAT + b" HTTP/1.1\r\nHost: h\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD_BODY)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream
) -> Iterator[RunningWorker]:
    """Run a worker with little patience."""
    folder: Path = tmp_path_factory.mktemp("strict")
    with HostileWorker(folder, CONFIG.format(url=upstream.url)) as running:
        yield running


UNFINISHED = [
    b"G",
    b"GET /healthz HTTP/1.1",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nA: b",
    SIZED,
    SIZED + b"{",
    SIZED + GOOD_BODY[:-1],
    CHUNKED,
    CHUNKED + b"1",
    CHUNKED + b"5\r\n{",
    CHUNKED + b"1\r\n{\r\n",
    CHUNKED + b"1\r\n{\r\n0\r\n",
    CHUNKED + b"1\r\n{\r\n0\r\nA: b\r\n",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
]


def test_what_never_comes_is_not_waited_for(
    strict: RunningWorker, subtests: pytest.Subtests
) -> None:
    """A head or body that stops is answered 408, and the connection closes."""
    wires = [(sent, Wire(strict.port)) for sent in UNFINISHED]
    for sent, wire in wires:
        wire.deliver(sent)
    for sent, wire in wires:
        with subtests.test(repr(sent[-30:])):
            (answer,) = wire.talk(b"", answers=None).answers
            assert answer.status == 408
            check_error(answer, says="gateway.limits")
        wire.close()


@pytest.mark.parametrize("sent", [b"", ALIVE], ids=["new", "used"])
def test_an_idle_connection_is_closed(sent: bytes, strict: RunningWorker) -> None:
    """Without a request it ends without a word."""
    wire = Wire(strict.port)
    try:
        heard = wire.talk(sent, answers=None)
    finally:
        wire.close()
    assert [answer.status for answer in heard.answers] == [200] * bool(sent)


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"GET /healthz HTTP/1.1\r\n", b"a:b\r\n"), (CHUNKED, b"1\r\n \r\n")],
    ids=["head", "body"],
)
def test_a_drip_does_not_buy_time(start: bytes, drop: bytes, strict: RunningWorker) -> None:
    """A little now and then is no progress: the bound is for the whole."""
    wire = Wire(strict.port)
    began_s = time.monotonic()
    try:
        wire.deliver(start)
        while not wire.heard.answers:
            assert time.monotonic() - began_s < 1.5
            wire.deliver(drop)
            wire.poll()
            time.sleep(0.02)
    finally:
        wire.close()
    assert wire.heard.answers[0].status == 408


@pytest.mark.parametrize("sent", [b"", b"GET /heal", ALIVE[:-2], SIZED, CHUNKED + b"5\r\n"])
def test_an_end_in_the_middle_ends_it(sent: bytes, strict: RunningWorker) -> None:
    """A client that stops sending for good before its request is whole is let go at once."""
    wire = Wire(strict.port)
    try:
        wire.deliver(sent)
        wire.finish_sending()
        heard = wire.talk(b"", answers=None, bound_s=1.0)
    finally:
        wire.close()
    assert heard.answers == []


def test_a_crowd_of_idle_connections_keeps_nobody_out(strict: RunningWorker) -> None:
    """200 connections that say half a word: a good request is answered beside them."""
    crowd = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(200)]
    try:
        for one in crowd:
            one.sendall(b"GET /healthz HT")
        wire = Wire(strict.port)
        began_s = time.monotonic()
        assert wire.talk(ALIVE, answers=1).answers[0].status == 200
        assert time.monotonic() - began_s < 1.0
        wire.close()
    finally:
        for one in crowd:
            one.close()


def test_more_connections_than_allowed_are_told(strict: RunningWorker) -> None:
    """One too many is answered 503 with `Retry-After`; when they leave there is room."""
    crowd = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(300)]
    try:
        late = Wire(strict.port)
        (answer,) = late.talk(ALIVE, answers=None).answers
        late.close()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    finally:
        for one in crowd:
            one.close()
    for _ in range(50):
        wire = Wire(strict.port)
        status = wire.talk(ALIVE, answers=1).answers[0].status
        wire.close()
        if status == 200:
            return
        time.sleep(0.02)
    raise AssertionError("there is no room again")


def test_a_client_that_does_not_read_is_dropped(strict: RunningWorker) -> None:
    """Pipelined requests whose answers nobody takes do not pile up: the connection ends."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.2)
    client.connect(("127.0.0.1", strict.port))
    stop = time.monotonic() + 3.0
    dropped = threading.Event()
    try:
        while time.monotonic() < stop and not dropped.is_set():
            try:
                client.sendall(ALIVE * 500)
            except TimeoutError:
                continue
            except OSError:
                dropped.set()
    finally:
        client.close()
    assert dropped.is_set()
