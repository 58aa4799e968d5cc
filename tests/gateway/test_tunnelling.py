"""Upgraded connections whose upstream is said in bytes."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.worker import RunningWorker

from storage.records import Prediction

CONFIG = (
    "upstreams: {{a: {{url: 'http://127.0.0.1:{port}/v1'}}}}\nroutes: {{m: {{split: {{a: 1}}}}}}"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b\r\n"
ASK = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
GOODBYE = b"\x88\x02\x03\xe8"


@contextmanager
def upstream_says(data: bytes) -> Iterator[int]:
    """Run an upstream that answers one request with these bytes, and ends."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def told(tmp_path: Path, data: bytes, ask: bytes = ASK) -> tuple[bytes, Prediction]:
    """Return what a client gets of an upstream's bytes, and its row."""
    with (
        upstream_says(data) as port,
        RunningWorker(tmp_path, CONFIG.format(port=port)) as worker,
    ):
        with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as client:
            client.sendall(ask)
            got = b""
            while piece := client.recv(65_536):
                got += piece
        deadline_s = time.monotonic() + 5
        while not worker.records() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        (row,) = worker.records()
    return got.partition(b"\r\n\r\n")[2], row.prediction


@pytest.mark.parametrize(
    ("last", "reason"), [(GOODBYE, None), (b"", "stream_interrupted")], ids=["farewell", "cut"]
)
def test_an_end_without_a_farewell_is_a_failure(
    tmp_path: Path, last: bytes, reason: str | None
) -> None:
    """An upstream that goes away without a close frame has failed; the client gets every byte."""
    said = b"\x81\x02{}" + last
    got, row = told(tmp_path, SWITCH % b"" + said)
    assert (got, row.status, row.reason) == (said, 101, reason)
    assert row.response_bytes == len(said)


def test_what_cannot_be_read_is_relayed(tmp_path: Path) -> None:
    """Frames that mean nothing here reach the client all the same, and are no failure."""
    got, row = told(tmp_path, SWITCH % b"" + b"\xff\xff no frame")
    assert got == b"\xff\xff no frame"
    assert (row.reason, row.prompt_tokens, row.ttft_s) == (None, None, None)


def test_an_unknown_extension_is_not_read(tmp_path: Path) -> None:
    """With an extension that is not known a conversation has no facts, and no failure."""
    got, row = told(tmp_path, SWITCH % b"Sec-WebSocket-Extensions: x-other\r\n" + b"\x81\x02{}")
    assert (got, row.status, row.reason) == (b"\x81\x02{}", 101, None)


def test_responses_may_be_asked_for_over_a_connection(tmp_path: Path) -> None:
    """`GET /v1/responses` changes to a WebSocket, whose answers are read for the row."""
    event = b'{"type":"response.completed","response":{"model":"m-1","usage":{"input_tokens":7}}}'
    said = b"\x81" + bytes([len(event)]) + event + GOODBYE
    got, row = told(tmp_path, SWITCH % b"" + said, ASK.replace(b"realtime?model=m", b"responses"))
    assert (got, row.operation, row.status) == (said, "responses_socket", 101)
    assert (row.prompt_tokens, row.model_answered) == (7, "m-1")
