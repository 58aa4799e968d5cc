"""The data plane from outside: the official client, a real worker, a real misbehaving upstream."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from support.fake_answers import (
    CLOSE,
    RESET,
    STREAM_HEAD,
    Pause,
    SeenRequest,
    Step,
    chunk,
    event,
    events,
)
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

from storage.records import Begin, End

COMPLETIONS = "/v1/chat/completions"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
ROUTES = """
upstreams:
  a: {{url: "{a}"}}
  b: {{url: "{b}", model: renamed, api_key: sk-of-b, prices: {{renamed: {{input: 2, output: 10}}}}}}
routes:
  chat:
    split: {{a: 1.0}}
    fallback: [b]
    timeouts: {{first_token: 500ms, idle: 400ms, total: 5s}}
  only-a: {{split: {{a: 1.0}}, timeouts: {{first_token: 500ms, total: 2s}}}}
  only-b: {{split: {{b: 1.0}}}}
  cached: {{split: {{a: 1.0}}, cache: {{ttl: 1h}}}}
  stand-in: {{split: {{a: 1.0}}, fallback: [b], cache: {{ttl: 1h}}}}
  brief: {{split: {{a: 1.0}}, cache: {{ttl: 50ms}}}}
  shadowed: {{split: {{a: 1.0}}, shadow: {{b: 1.0}}}}
"""


@pytest.fixture
def worker(tmp_path: Path, a: FakeUpstream, b: FakeUpstream) -> Iterator[RunningWorker]:
    """Run a worker that routes to both."""
    with RunningWorker(tmp_path, ROUTES.format(a=a.url, b=b.url)) as running:
        yield running


def test_plain_answer_is_the_upstreams_bytes(worker: RunningWorker, a: FakeUpstream) -> None:
    """The client gets the very bytes that the upstream sent, and the gateway's own headers."""
    body = {"model": "chat", "messages": HELLO}
    direct = httpx2.post(f"{a.url}/chat/completions", json=body)
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.content == direct.content
    assert answer.headers["x-driftgate-upstream"] == "a"
    assert answer.headers["x-driftgate-attempts"] == "1"
    assert answer.headers["x-driftgate-cache"] == "bypass"
    assert float(answer.headers["x-driftgate-overhead-ms"]) < 1000


def test_request_reaches_the_upstream_unchanged(worker: RunningWorker, a: FakeUpstream) -> None:
    """Without a rewrite the upstream gets the client's bytes, odd spacing and all."""
    body = (
        b'{ "model":"chat",\n "messages" : [ {"role":"user","content":"\\u00e9 hi"} ], "x": 1e2 }'
    )
    headers = {"Content-Type": "application/json", "X-Custom": "kept"}
    httpx2.post(f"{worker.url}/v1/chat/completions?trace=1", content=body, headers=headers)
    seen = a.requests[0]
    assert seen.body == body
    assert seen.target.endswith("/chat/completions?trace=1")
    assert seen.header("x-custom") == "kept"


def test_openai_client_plain_and_stream(worker: RunningWorker) -> None:
    """The official client works unchanged, streaming and not, and both texts agree."""
    client = worker.client()
    plain = client.chat.completions.create(model="chat", messages=HELLO)
    pieces = list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))
    text = "".join(p.choices[0].delta.content or "" for p in pieces)
    assert plain.choices[0].message.content is not None
    assert text.strip()
    assert pieces[-1].choices[0].finish_reason == "stop"
    client.close()


def test_stream_usage_is_recorded_and_hidden(worker: RunningWorker, a: FakeUpstream) -> None:
    """Usage is asked for upstream, recorded, and not shown to a client that did not ask."""
    client = worker.client()
    pieces = list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))
    assert all(piece.choices for piece in pieces)
    assert a.requests[0].json["stream_options"] == {"include_usage": True}
    asked = client.chat.completions.create(
        model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert [piece for piece in asked if piece.usage]
    client.close()
    first, second = worker.records()
    assert first.prediction.response_tokens == second.prediction.response_tokens
    assert first.prediction.response_tokens is not None


def test_model_and_key_are_the_upstreams(worker: RunningWorker, b: FakeUpstream) -> None:
    """An upstream with its own model name and key gets those, and never the client's key."""
    prompt: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": 'He said "model":"only-b" twice.'}
    ]
    client = worker.client()
    client.chat.completions.create(model="only-b", messages=prompt)
    client.close()
    seen = b.requests[0]
    assert seen.json["model"] == "renamed"
    assert seen.json["messages"] == prompt
    assert seen.header("authorization") == "Bearer sk-of-b"
    assert "sk-test" not in str(seen.headers)


@pytest.mark.parametrize(
    "fault",
    ["status:500", "status:503", "reset", "close_mid_head", "garbage", "html", "redirect"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_fault_before_content_falls_back(
    worker: RunningWorker, a: FakeUpstream, fault: str, *, stream: bool
) -> None:
    """Whatever an upstream does before the first content, the client sees the next one's answer."""
    a.default = fault
    body = {"model": "chat", "messages": HELLO, "stream": stream}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-driftgate-upstream"] == "b"
    (record,) = worker.records()
    assert record.prediction.fallback_from == "a"
    assert record.attempts[0].reason is not None
    assert record.attempts[-1].reason is None


def test_dead_upstream_falls_back(worker: RunningWorker, a: FakeUpstream) -> None:
    """A refused connection is repeated once, then the next upstream answers."""
    a.refuse()
    answer = httpx2.post(
        f"{worker.url}/v1/chat/completions", json={"model": "chat", "messages": HELLO}
    )
    assert answer.headers["x-driftgate-upstream"] == "b"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("status:500", 502, "upstream_invalid"),
        ("html", 502, "upstream_invalid"),
        ("status:429", 429, "upstream_limited"),
        ("stall", 504, "upstream_timeout"),
    ],
)
def test_exhausted_route_tells_the_truth(
    worker: RunningWorker, a: FakeUpstream, fault: str, status: int, code: str
) -> None:
    """With nobody left the client gets OpenAI's error shape, never a 500, and no SDK retries."""
    a.default = fault
    body = {"model": "only-a", "messages": HELLO, "stream": True}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body, timeout=10)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers.get("x-should-retry") == (None if status == 429 else "false")


def test_upstream_key_refused(worker: RunningWorker, b: FakeUpstream) -> None:
    """A key of ours that the upstream refuses is not the client's 401."""
    b.default = "status:401"
    body = {"model": "only-b", "messages": HELLO}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_auth"


def test_client_error_passes_with_its_body(worker: RunningWorker, a: FakeUpstream) -> None:
    """An upstream's 400 is the caller's: status and sound error object kept, nothing retried."""
    a.default = "status:400"
    body = {"model": "chat", "messages": HELLO}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert len(a.requests) == 1
    assert worker.records()[0].prediction.reason == "upstream_rejected"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((CLOSE,), "stream_interrupted"),
        ((RESET,), "stream_interrupted"),
        ((chunk(b""),), "stream_interrupted"),
        ((Pause(2),), "stream_timeout"),
        ((Pause(0.2), chunk(b": still there\n\n"), Pause(0.3)), "stream_timeout"),
        ((chunk(event({"error": {"message": "died"}})), chunk(b"")), "upstream_error"),
        ((chunk(event({"object": "error", "message": "died"})), CLOSE), "upstream_error"),
        ((chunk(event({"error": {"message": "died"}}, name="error")), CLOSE), "upstream_error"),
        ((chunk(event({"error": "died"})), chunk(event("[DONE]"))), "upstream_error"),
        ((chunk(b"<html>Bad gateway</html>\n\n"), CLOSE), "upstream_error"),
        ((chunk(event("null")), CLOSE), "upstream_error"),
    ],
)
def test_fault_after_content_is_said(
    worker: RunningWorker, a: FakeUpstream, steps: tuple[Step, ...], code: str
) -> None:
    """A stream that dies after its first content ends with one error event and no [DONE]."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        for one in list(events(request))[:3]:
            yield chunk(one)
        yield Pause(0.05)  # or all of it arrives at once, and another upstream answers
        yield from steps

    a.default = script
    client = worker.client()
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))
    client.close()
    assert raised.value.code == code
    (record,) = worker.records()
    assert record.prediction.reason == code
    assert record.prediction.finish_reason is None


def test_missing_done_is_added(worker: RunningWorker, a: FakeUpstream) -> None:
    """A finished stream without [DONE] gets one."""
    a.default = "no_done"
    body = {"model": "chat", "messages": HELLO, "stream": True}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.text.count("[DONE]") == 1


def test_begin_before_first_byte_and_end_before_done(
    worker: RunningWorker, a: FakeUpstream
) -> None:
    """A stream's BEGIN is in the log when its first byte arrives, its END when [DONE] does."""
    a.default = "slow_tokens:0.1"
    body = {"model": "chat", "messages": HELLO, "stream": True}
    with httpx2.stream("POST", f"{worker.url}/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            frames = worker.frames()
            assert isinstance(frames[0], Begin)
            if line == "data: [DONE]":
                assert isinstance(frames[-1], End)
                break
            if "finish" in line and '"stop"' not in line:
                assert not any(isinstance(frame, End) for frame in frames)


def test_client_that_leaves_is_recorded(worker: RunningWorker, a: FakeUpstream) -> None:
    """A client that goes has its row, and the upstream is told within a second."""
    a.default = "slow_tokens:0.2"
    for stream in (True, False):
        body = json.dumps({"model": "chat", "messages": HELLO, "stream": stream}).encode()
        with socket.create_connection(("127.0.0.1", worker.port)) as raw:
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            time.sleep(0.3)
    deadline = time.monotonic() + 2
    while len(a.aborts) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(a.aborts) == 2
    assert [r.prediction.reason for r in worker.records()] == ["client_closed"] * 2


def test_cache_hit_is_the_same_answer(worker: RunningWorker, a: FakeUpstream) -> None:
    """The second identical request is answered without the upstream, and both say so."""
    body = {"model": "cached", "messages": HELLO}
    spaced = b'{"messages" : [{"content":"Say hello.","role":"user"}], "model":"cached"}'
    url, headers = f"{worker.url}/v1/chat/completions", {"Content-Type": "application/json"}
    first = httpx2.post(url, json=body)
    second = httpx2.post(url, content=spaced, headers=headers)
    assert (first.headers["x-driftgate-cache"], second.headers["x-driftgate-cache"]) == (
        "miss",
        "hit",
    )
    assert first.content == second.content
    assert len(a.requests) == 1
    assert [r.prediction.cache for r in worker.records()] == ["miss", "hit"]
    fresh = httpx2.post(url, json=body, headers={"Cache-Control": "no-cache"})
    assert fresh.headers["x-driftgate-cache"] == "bypass"


def test_cached_stream_is_replayed(worker: RunningWorker, a: FakeUpstream) -> None:
    """A cached stream is replayed as server-sent events."""
    client = worker.client()
    texts = []
    for _ in range(2):
        pieces = client.chat.completions.create(model="cached", messages=HELLO, stream=True)
        texts.append([piece.choices[0].delta.content for piece in pieces])
    client.close()
    assert texts[0] == texts[1]
    assert len(a.requests) == 1


def test_failures_and_expired_answers_are_not_cached(
    worker: RunningWorker, a: FakeUpstream
) -> None:
    """Only complete successes are kept, and no longer than their time to live."""
    url, body = f"{worker.url}/v1/chat/completions", {"model": "brief", "messages": HELLO}
    a.script("status:400")
    assert httpx2.post(url, json=body).status_code == 400
    assert httpx2.post(url, json=body).headers["x-driftgate-cache"] == "miss"
    time.sleep(0.06)
    assert httpx2.post(url, json=body).headers["x-driftgate-cache"] == "miss"
    assert len(a.requests) == 3


def test_answer_of_a_stand_in_is_not_cached(worker: RunningWorker, a: FakeUpstream) -> None:
    """What another upstream answered in an outage is not replayed after it."""
    url, body = f"{worker.url}/v1/chat/completions", {"model": "stand-in", "messages": HELLO}
    a.script("status:500")
    first, second = httpx2.post(url, json=body), httpx2.post(url, json=body)
    assert first.headers["x-driftgate-upstream"] == "b"
    assert second.headers["x-driftgate-upstream"] == "a"
    assert second.headers["x-driftgate-cache"] == "miss"


def test_reload_of_routes_forgets_cached_answers(
    worker: RunningWorker, a: FakeUpstream, b: FakeUpstream
) -> None:
    """After a route has moved to another model its old answers are gone."""
    url, body = f"{worker.url}/v1/chat/completions", {"model": "cached", "messages": HELLO}
    httpx2.post(url, json=body)
    text = ROUTES.format(a=a.url, b=b.url)
    worker.configure(text.replace("cached: {split: {a: 1.0}", "cached: {split: {b: 1.0}"))
    deadline = time.monotonic() + 5
    upstream = ""
    while upstream != "b" and time.monotonic() < deadline:
        upstream = httpx2.post(url, json=body).headers["x-driftgate-upstream"]
    assert upstream == "b"


def test_shadow_is_recorded_and_unseen(
    worker: RunningWorker, a: FakeUpstream, b: FakeUpstream
) -> None:
    """A shadow gets a copy, its row points at the primary's, and its failure reaches nobody."""
    b.default = "status:500"
    body = {"model": "shadowed", "messages": HELLO}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200
    worker.stop()
    by_role = {record.prediction.role: record.prediction for record in worker.records()}
    assert by_role["shadow"].pair_id == by_role["primary"].id == answer.headers["x-driftgate-id"]
    assert by_role["shadow"].reason == "upstream_invalid"
    assert len(b.requests) == 1


def test_cost_follows_the_price(worker: RunningWorker) -> None:
    """Where a price is configured the record carries the cost of the tokens used."""
    body = {"model": "only-b", "messages": HELLO}
    httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
    p = worker.records()[0].prediction
    assert p.prompt_tokens is not None
    assert p.response_tokens is not None
    assert p.cost_usd == pytest.approx((p.prompt_tokens * 2 + p.response_tokens * 10) / 1e6)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", COMPLETIONS, b"{", 400, "invalid_request"),
        ("POST", COMPLETIONS, b"[1]", 400, "invalid_request"),
        ("POST", COMPLETIONS, b'{"messages":[]}', 400, "invalid_request"),
        ("POST", COMPLETIONS, b'{"model":3}', 400, "invalid_request"),
        (
            "POST",
            "/v1/chat/completions",
            b'{"model":"chat","stream":"yes"}',
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/chat/completions",
            b'{"model":"nobody","messages":[]}',
            404,
            "model_not_found",
        ),
        ("POST", COMPLETIONS, b"[" * 100_000, 400, "invalid_request"),
        ("POST", COMPLETIONS, b'{"model":"\xff"}', 400, "invalid_request"),
        ("GET", "/v1/embeddings", b"", 405, "method_not_allowed"),
        ("POST", COMPLETIONS, b'{"model":"chat","x":"\xff"}', 400, "invalid_request"),
        ("POST", COMPLETIONS, b'{"model":"chat","model":"b"}', 400, "invalid_request"),
        ("GET", "/nothing", b"", 404, "not_found"),
        ("POST", "/v1/../admin", b"", 404, "not_found"),
        ("POST", "/v1/load_lora_adapter", b"{}", 404, "not_found"),
    ],
)
def test_bad_requests_get_a_clear_4xx(
    worker: RunningWorker, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    """Bad input is answered in OpenAI's error shape, and the connection stays usable."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as raw:
        raw.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = b""
        while b'"error"' not in answer:
            answer += raw.recv(65536)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == code


def test_huge_body_is_refused(worker: RunningWorker) -> None:
    """A 100 MB body gets 413 before it has been sent."""
    answer = httpx2.post(
        f"{worker.url}/v1/chat/completions", content=b"x" * 100_000_000, timeout=20
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_other_paths_pass_through(worker: RunningWorker, a: FakeUpstream) -> None:
    """A path this gateway does not know goes to the route's upstream, bytes both ways."""
    headers = {"x-driftgate-route": "only-a", "Content-Type": "application/octet-stream"}
    answer = httpx2.post(f"{worker.url}/v1/audio/odd?x=1", content=b"\x00\x01", headers=headers)
    assert a.requests[0].target.endswith("/audio/odd?x=1")
    assert a.requests[0].body == b"\x00\x01"
    assert worker.records()[0].prediction.operation == "other"
    assert answer.headers["x-driftgate-upstream"] == "a"


@pytest.mark.parametrize("path", ["/tokenize", "/v2/rerank", "/score"])
def test_paths_beside_the_api_stay_there(worker: RunningWorker, b: FakeUpstream, path: str) -> None:
    """What model servers serve at their root is asked there, with the upstream's model name."""
    httpx2.post(f"{worker.url}{path}?n=1", json={"model": "only-b", "prompt": "Hi"})
    seen = b.requests[0]
    assert (seen.method, seen.target) == ("POST", f"{path}?n=1")
    assert json.loads(seen.body) == {"model": "renamed", "prompt": "Hi"}
    found = worker.records()[0].prediction
    assert (found.operation, found.route) == (path.rpartition("/")[2], "only-b")


@pytest.mark.parametrize(
    "path", ["/load_lora_adapter", "/v1/load_lora_adapter", "/sleep", "/tokenize/", "/metrics"]
)
def test_other_paths_beside_the_api_do_not_exist(
    worker: RunningWorker, a: FakeUpstream, path: str
) -> None:
    """Nothing else of a model server's root can be reached."""
    assert httpx2.post(worker.url + path, json={"model": "only-a"}).status_code == 404
    assert a.requests == []


def test_paths_beside_the_api_are_asked_by_post(worker: RunningWorker) -> None:
    """They exist, and say how they are asked."""
    answer = httpx2.get(f"{worker.url}/tokenize")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_models_lists_routes(worker: RunningWorker) -> None:
    """GET /v1/models names what clients may send."""
    client = worker.client()
    assert {model.id for model in client.models.list()} >= {"chat", "cached", "only-a"}
    client.close()


def test_embeddings(worker: RunningWorker) -> None:
    """Embeddings pass and their usage is recorded."""
    client = worker.client()
    assert client.embeddings.create(model="chat", input="hello").data
    client.close()
    assert worker.records()[0].prediction.operation == "embedding"


def test_trace_goes_on(worker: RunningWorker, a: FakeUpstream) -> None:
    """The client's trace id reaches the upstream, with this gateway's span as the parent."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"model": "chat", "messages": HELLO}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body, headers=headers)
    sent = a.requests[0].header("traceparent")
    p = worker.records()[0].prediction
    assert sent == answer.headers["traceparent"] == f"00-{trace}-{p.span_id}-01"
    assert p.parent_span_id == "b7ad6b7169203331"


def test_no_log_keeps_no_text(worker: RunningWorker) -> None:
    """`x-driftgate-no-log` keeps the facts and no body."""
    headers = {"x-driftgate-no-log": "true", "x-driftgate-tags": "team:a, bad tag, v=1"}
    body = {"model": "chat", "messages": HELLO}
    httpx2.post(f"{worker.url}/v1/chat/completions", json=body, headers=headers)
    (record,) = worker.records()
    assert record.payload is None
    assert record.prediction.tags == ("team:a", "v=1")


def test_reload_changes_the_routes(worker: RunningWorker, a: FakeUpstream, b: FakeUpstream) -> None:
    """A new configuration is in force for the next request."""
    text = ROUTES.format(a=a.url, b=b.url).replace(
        "chat:\n    split: {a: 1.0}", "chat:\n    split: {b: 1.0}"
    )
    worker.configure(text)
    deadline = time.monotonic() + 5
    body = {"model": "chat", "messages": HELLO}
    upstream = ""
    while upstream != "b" and time.monotonic() < deadline:
        answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body)
        upstream = answer.headers["x-driftgate-upstream"]
    assert upstream == "b"


def test_drain_finishes_streams(worker: RunningWorker, a: FakeUpstream) -> None:
    """SIGTERM's drain lets a running stream end, and its record is in the log."""
    a.default = "slow_tokens:0.1"
    body = {"model": "chat", "messages": HELLO, "stream": True}
    with httpx2.stream("POST", f"{worker.url}/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        worker.send("drain", grace_s=5)
        rest = list(lines)
    assert "data: [DONE]" in rest
    worker.stop()
    assert worker.records()[0].prediction.finish_reason == "stop"


def test_feedback_is_logged(worker: RunningWorker) -> None:
    """Feedback on a prediction is in the log when it is acknowledged; bad feedback is refused."""
    url = f"{worker.url}/v1/feedback"
    body = {"model": "chat", "messages": HELLO}
    identity = httpx2.post(f"{worker.url}/v1/chat/completions", json=body).headers["x-driftgate-id"]
    answer = httpx2.post(url, json={"id": identity, "score": 0.5, "label": "good"})
    assert (answer.status_code, answer.json()) == (202, {"id": identity, "logged": True})
    many = httpx2.post(url, json=[{"id": identity, "label": "bad"}, {"id": identity, "score": 1}])
    assert (many.status_code, many.json()) == (202, {"rows": 2, "logged": True})
    for bad in ({"id": "x", "score": 1}, {"id": identity}, {"id": identity, "stars": 5}):
        assert httpx2.post(url, json=bad).status_code == 400
    assert httpx2.get(url).status_code == 405
