"""What the log says of requests that went wrong in unusual ways."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.fake_answers import (
    CLOSE,
    STREAM_HEAD,
    Pause,
    SeenRequest,
    Step,
    chunk,
    event,
    events,
    head,
    piece,
)
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

HELLO = [{"role": "user", "content": "Say hello."}]
CONFIG = """
upstreams:
  a: {{url: "{a}"}}
  b: {{url: "{b}"}}
routes:
  chat:
    split: {{a: 1.0}}
    fallback: [b]
    timeouts: {{first_token: 2s, idle: 400ms, total: 20s}}
  cached: {{split: {{a: 1.0}}, cache: {{ttl: 1h}}}}
  shadowed: {{split: {{a: 1.0}}, shadow: {{b: 1.0}}}}
"""


@pytest.fixture
def worker(tmp_path: Path, a: FakeUpstream, b: FakeUpstream) -> Iterator[RunningWorker]:
    """Run a worker that routes to both."""
    with RunningWorker(tmp_path, CONFIG.format(a=a.url, b=b.url)) as running:
        yield running


def post(worker: RunningWorker, content: bytes, **headers: str) -> httpx2.Response:
    """Send one request body."""
    headers = {"Content-Type": "application/json", **headers}
    url = f"{worker.url}/v1/chat/completions"
    return httpx2.post(url, content=content, headers=headers, timeout=20)


def leave_after(worker: RunningWorker, body: dict[str, object], wait_s: float) -> None:
    """Send a request whose client leaves."""
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", worker.port)) as raw:
        request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        raw.sendall(request % (len(content), content))
        time.sleep(wait_s)
    deadline_s = time.monotonic() + 5
    while not worker.records() and time.monotonic() < deadline_s:
        time.sleep(0.01)


@pytest.mark.parametrize("extra", [b'"x":1e999'], ids=["inf"])
def test_body_without_canonical_form_is_answered(worker: RunningWorker, extra: bytes) -> None:
    """A cached route answers what it cannot key, without its cache, and records it."""
    body = b'{"model":"cached","messages":[],%b}' % extra
    answer = post(worker, body)
    # The fake upstream reads JSON strictly; what counts is that it was asked, once, and recorded.
    assert answer.headers["x-driftgate-upstream"] == "a"
    assert answer.headers["x-driftgate-cache"] == "bypass"
    assert len(worker.records()) == 1


def test_forwarded_keys_do_not_share_the_cache(worker: RunningWorker, a: FakeUpstream) -> None:
    """Where the client's own key goes upstream, nobody is answered with another key's answer."""
    body = json.dumps({"model": "cached", "messages": HELLO}).encode()
    states = [
        post(worker, body, Authorization=f"Bearer {key}").headers["x-driftgate-cache"]
        for key in ("sk-one", "sk-two", "sk-one")
    ]
    assert states == ["miss", "miss", "hit"]
    assert len(a.requests) == 2


def test_passed_through_refusal_arrives_whole(worker: RunningWorker, a: FakeUpstream) -> None:
    """A 404 of another path that arrives in parts is passed on whole, and recorded as one."""
    error = json.dumps({"error": {"message": "no such file " + "x" * 5000}}).encode()
    parts: list[Step] = [head(404, f"Content-Length: {len(error)}"), error[:10], Pause(0.1)]
    a.script(lambda _: [*parts, error[10:]])
    url = f"{worker.url}/v1/files/abc"
    answer = httpx2.get(url, headers={"x-driftgate-route": "chat"}, timeout=10)
    assert (answer.status_code, answer.content) == (404, error)
    (record,) = worker.records()
    assert (record.prediction.reason, record.prediction.status) == ("upstream_rejected", 404)


def test_done_without_content_falls_back(worker: RunningWorker, a: FakeUpstream) -> None:
    """A stream of `[DONE]` alone is no answer while another upstream can give one."""
    a.default = "done_only"
    body = json.dumps({"model": "chat", "messages": HELLO, "stream": True}).encode()
    answer = post(worker, body)
    assert answer.headers["x-driftgate-upstream"] == "b"
    assert answer.text.count("[DONE]") == 1


def test_done_without_finish_reason_is_recorded(worker: RunningWorker, a: FakeUpstream) -> None:
    """A stream that never says how it ended passes; the record says that it is missing."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        yield chunk(event(piece(request, content="word")) + event("[DONE]")) + chunk(b"")

    a.script(script)
    body = json.dumps({"model": "chat", "messages": HELLO, "stream": True}).encode()
    assert post(worker, body).text.endswith("data: [DONE]\n\n")
    assert worker.records()[0].prediction.finish_reason == "missing"


def test_absurd_usage_is_unknown(worker: RunningWorker, a: FakeUpstream) -> None:
    """A token count that no column holds does not keep the answer from its client or the log."""
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10**30, "completion_tokens": 3}
    sound = json.dumps({"choices": [choice], "usage": usage}).encode()
    a.script(lambda _: [head(200, f"Content-Length: {len(sound)}") + sound])
    answer = post(worker, b'{"model":"chat","messages":[]}')
    assert answer.content == sound
    (record,) = worker.records()
    assert record.prediction.prompt_tokens is None
    assert record.prediction.response_tokens == 3


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_wait_for_an_upstream_is_the_upstreams(
    worker: RunningWorker, a: FakeUpstream, *, stream: bool
) -> None:
    """Time that a client waited before it left is upstream's time, not this gateway's."""
    a.default = "stall"
    leave_after(worker, {"model": "chat", "messages": HELLO, "stream": stream}, 0.4)
    prediction = worker.records()[0].prediction
    assert prediction.reason == "client_closed"
    assert prediction.upstream_s > 0.3
    assert prediction.overhead_s < 0.1


def test_text_of_a_stream_that_was_left_is_kept(worker: RunningWorker, a: FakeUpstream) -> None:
    """What had come of an answer when its client left is in the log, with the wait for more."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        for one in list(events(request))[:3]:
            yield chunk(one)
        yield Pause(5)

    a.script(script)
    leave_after(worker, {"model": "chat", "messages": HELLO, "stream": True}, 0.3)
    (record,) = worker.records()
    assert record.payload is not None
    assert record.payload.response.count(b"data:") == 3
    assert record.prediction.response_bytes == len(record.payload.response)
    assert record.prediction.overhead_s < 0.1


def test_slow_reader_is_not_blamed_on_the_upstream(worker: RunningWorker, a: FakeUpstream) -> None:
    """A client that stops reading for longer than `idle` gets the rest of a healthy stream."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        large = chunk(event(piece(request, content="x" * 60_000)))
        for _ in range(200):
            yield large
        yield chunk(event(piece(request, finish_reason="stop")) + event("[DONE]")) + chunk(b"")

    a.script(script)
    body = json.dumps({"model": "chat", "messages": HELLO, "stream": True}).encode()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        raw.connect(("127.0.0.1", worker.port))
        request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        raw.sendall(request % (len(body), body))
        time.sleep(1.2)
        raw.settimeout(10)
        tail = b""
        while not tail.endswith(b"0\r\n\r\n"):
            received = raw.recv(1 << 20)
            assert received, tail[-300:]
            tail = tail[-1000:] + received
    assert b"data: [DONE]" in tail
    prediction = worker.records()[0].prediction
    assert (prediction.reason, prediction.finish_reason) == (None, "stop")
    assert prediction.overhead_s > 0.3


def test_shadow_that_dies_is_recorded_as_one(worker: RunningWorker, b: FakeUpstream) -> None:
    """A shadow cut in its stream says so in its attempt too, for its breaker to count."""
    script: list[Step] = [STREAM_HEAD]

    def cut(request: SeenRequest) -> Iterator[Step]:
        yield from script
        for one in list(events(request))[:3]:
            yield chunk(one)
        yield Pause(0.05)
        yield CLOSE

    b.script(cut)
    body = json.dumps({"model": "shadowed", "messages": HELLO, "stream": True}).encode()
    assert post(worker, body).status_code == 200
    worker.stop()
    (shadow,) = [r for r in worker.records() if r.prediction.role == "shadow"]
    assert shadow.prediction.reason == "upstream_unreachable"
    assert shadow.attempts[-1].reason == "upstream_unreachable"
