"""Events of 50 MB, as some send images: through where that is allowed, else cut; never hoarded."""

import hashlib
import json
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fake_answers import STREAM_HEAD, SeenRequest, chunk, event, piece
from support.fake_upstream import FakeUpstream
from support.fidelity_rig import CHAT, request
from support.worker import RunningWorker

MB = 1_000_000
BLOCK = b"x" * 50_000
ASKS = b'{"model": "m", "messages": [], "stream": true}'
CONFIG = """
gateway: {{limits: {{{limits}}}}}
upstreams: {{a: {{url: "{url}"}}}}
routes: {{"*": {{split: {{a: 1.0}}, retry: {{attempts: 1}}}}}}
engine: {{enabled: false}}
"""
SEEN = SeenRequest("POST", CHAT, [], ASKS, 0.0, 0, json.loads(ASKS))
TOKEN, STOP = event(piece(SEEN, content="hi")), event(piece(SEEN, finish_reason="stop"))
DONE = b"data: [DONE]\n\n"
LONG = [
    b'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "',
    *[BLOCK] * 1_000,
    b'"}}]}\n\n',
]


def _ask(port: int) -> tuple[bytes, str, bytes]:
    """Return the head of the answer, a digest of its chunked body, and the body's last bytes."""
    digest, last = hashlib.sha256(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(request(f"POST {CHAT} HTTP/1.1\r\nContent-Type: application/json", ASKS))
        with raw.makefile("rb") as wire:
            head = b"".join(iter(wire.readline, b"\r\n")).lower()
            if b"content-length: " in head:
                length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
                return head, "", wire.read(length)
            while left := int(wire.readline(), 16):
                while left:
                    part = wire.read(min(left, 65_536))
                    left -= len(part)
                    digest.update(part)
                    last = last[-1_000:] + part[-1_000:]
                wire.readline()
    return head, digest.hexdigest(), last


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Run an upstream."""
    with FakeUpstream() as running:
        yield running


@contextmanager
def _traced(most_bytes: int) -> Iterator[None]:
    """Bound what Python allocates at any time within the block, in all threads."""
    tracemalloc.start(1)
    try:
        began_bytes, _ = tracemalloc.get_traced_memory()
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes - began_bytes < most_bytes


def _send(upstream: FakeUpstream, parts: list[bytes]) -> None:
    block = chunk(BLOCK)
    steps = [STREAM_HEAD, *(block if part is BLOCK else chunk(part) for part in parts), chunk(b"")]
    upstream.default = lambda _: steps


def test_a_long_event_passes_where_it_is_allowed(tmp_path: Path, upstream: FakeUpstream) -> None:
    """50 MB in one event reach the client byte for byte; a few copies are held, for a moment."""
    parts = [TOKEN, *LONG, STOP, DONE]
    _send(upstream, parts)
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    config = CONFIG.format(url=upstream.url, limits="event_bytes: 67108864")
    with RunningWorker(tmp_path, config) as worker, _traced(250 * MB):
        head, digest, last = _ask(worker.port)
    assert head.startswith(b"http/1.1 200 ")
    assert last.endswith(DONE)
    assert digest == whole.hexdigest()


@pytest.mark.parametrize("shown", [False, True], ids=["before content", "behind content"])
def test_a_long_event_is_cut_else(tmp_path: Path, upstream: FakeUpstream, *, shown: bool) -> None:
    """Beyond 1 MiB of an event the answer is an error, and no more of it is read."""
    _send(upstream, [*[TOKEN] * shown, *LONG, STOP, DONE])
    config = CONFIG.format(url=upstream.url, limits="")
    with RunningWorker(tmp_path, config) as worker, _traced(10 * MB):
        head, _, last = _ask(worker.port)
    assert head.startswith(b"http/1.1 200 " if shown else b"http/1.1 502 ")
    error = json.loads(last.rstrip(b"\n").rpartition(b"data: ")[2])["error"]
    assert error["code"] == ("upstream_error" if shown else "upstream_invalid")
    assert b"[DONE]" not in last
