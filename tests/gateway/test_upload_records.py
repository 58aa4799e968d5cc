"""What the log says of bodies that are passed on while they arrive."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

CONFIG = """
upstreams: {{a: {{url: "{url}"}}}}
routes: {{chat: {{split: {{a: 1.0}}}}}}
gateway: {{limits: {{body_timeout: 300ms, stream_bytes: 200_000}}}}
"""
HEAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
FIELD = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def in_chunk(data: bytes) -> bytes:
    """Return a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[RunningWorker]:
    """Run a worker with little patience before an upstream."""
    with (
        FakeUpstream() as upstream,
        RunningWorker(tmp_path, CONFIG.format(url=upstream.url)) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("rest", "status", "reason"),
    [
        (b"no size\r\n", 400, "invalid_request"),
        (b"", 408, "request_timeout"),
        (in_chunk(bytes(250_000)), 413, "request_too_large"),
    ],
    ids=["broken", "stalled", "too long"],
)
def test_upload_that_fails_is_the_clients_doing(
    worker: RunningWorker, rest: bytes, status: int, reason: str
) -> None:
    """Record and attempt say the same of the client, and no upstream is blamed for it."""
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as client:
            client.sendall(HEAD + in_chunk(FIELD + FILE))
            time.sleep(0.05)
            client.sendall(rest)
            assert client.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
    rows = worker.records()
    assert {(row.prediction.status, row.prediction.reason) for row in rows} == {(status, reason)}
    assert [[attempt.reason for attempt in row.attempts] for row in rows] == [[reason]] * 6


def test_upload_whose_model_is_renamed_has_its_size(tmp_path: Path) -> None:
    """The record counts what went through, whichever first part the upstream got."""
    config = CONFIG.replace('{{url: "{url}"}}', '{{url: "{url}", model: another}}')
    size = 2_000_000
    body = FIELD + FILE + bytes(size) + b"\r\n--b--\r\n"
    head = HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body))
    with (
        FakeUpstream() as upstream,
        RunningWorker(
            tmp_path, config.format(url=upstream.url).replace("200_000", "9_000_000")
        ) as it,
    ):
        with socket.create_connection(("127.0.0.1", it.port), timeout=10) as client:
            client.sendall(head + body)
            client.recv(65_536)
        (row,) = it.records()
    assert abs(row.prediction.request_bytes - len(body)) < 100
