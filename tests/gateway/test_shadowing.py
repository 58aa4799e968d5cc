"""What the record says of shadows."""

import socket
import time
from pathlib import Path

import httpx2
import pytest
from support.fake_answers import whole
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

CONFIG = """
upstreams:
  fast: {{url: "{fast}"}}
  slow: {{url: "{slow}"}}
routes:
  chat: {{split: {{fast: 1.0}}, shadow: {{slow: 1.0}}, timeouts: {{total: 300ms}}}}
"""
BODY = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}]}


def test_shadow_that_never_answers_is_its_upstreams_fault(tmp_path: Path) -> None:
    """Time that is up is counted against the shadow's upstream, not as a client that left."""
    with FakeUpstream() as fast, FakeUpstream("stall") as slow:
        config = CONFIG.format(fast=fast.url, slow=slow.url)
        with RunningWorker(tmp_path, config) as worker:
            assert httpx2.post(f"{worker.url}/v1/chat/completions", json=BODY).status_code == 200
            deadline_s = time.monotonic() + 5
            while len(worker.records()) < 2 and time.monotonic() < deadline_s:
                time.sleep(0.02)
            (shadow,) = [r for r in worker.records() if r.prediction.role == "shadow"]
    assert shadow.prediction.reason == "upstream_timeout"
    assert [attempt.reason for attempt in shadow.attempts] == ["upstream_timeout"]


def test_body_that_is_not_held_has_no_shadow(tmp_path: Path) -> None:
    """A long form can be read once: all of it is the primary's, and nothing is copied."""
    field, file = {"model": "chat"}, {"file": ("a.wav", bytes(4 << 20))}
    with FakeUpstream() as fast, FakeUpstream() as slow:
        fast.script(lambda _: [whole(200, b"{}")])
        with RunningWorker(tmp_path, CONFIG.format(fast=fast.url, slow=slow.url)) as worker:
            url = f"{worker.url}/v1/audio/transcriptions"
            answer = httpx2.post(url, data=field, files=file, timeout=20)
            sent = answer.request.headers["content-length"]
        (seen,) = fast.requests
        assert answer.status_code == 200
        assert len(seen.body) == int(sent)
        assert slow.requests == []
        assert [end.prediction.role for end in worker.records()] == ["primary"]


def test_conversation_has_no_shadow(tmp_path: Path) -> None:
    """A WebSocket is opened at one upstream: nobody would speak on the copy's."""
    ask = (
        b"GET /v1/realtime?model=chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as slow:
        urls = {
            "fast": "http://127.0.0.1:1/v1",
            "slow": f"http://127.0.0.1:{slow.getsockname()[1]}",
        }
        with (
            RunningWorker(tmp_path, CONFIG.format(**urls)) as worker,
            socket.create_connection(("127.0.0.1", worker.port), timeout=10) as client,
        ):
            client.sendall(ask)
            assert client.recv(65_536).startswith(b"HTTP/1.1 502 ")
        slow.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.accept()


def test_what_must_not_be_done_twice_has_no_shadow(tmp_path: Path) -> None:
    """A method that changes something is not copied."""
    with FakeUpstream("status:400") as fast, FakeUpstream("status:400") as slow:
        with RunningWorker(tmp_path, CONFIG.format(fast=fast.url, slow=slow.url)) as worker:
            answer = httpx2.put(f"{worker.url}/v1/odd", json={"model": "chat"})
        assert (answer.status_code, len(fast.requests)) == (400, 1)
        assert slow.requests == []
