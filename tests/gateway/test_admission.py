import hashlib
import inspect
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

from gateway import errors
from gateway.errors import MethodNotAllowed, NotFound, RequestError
from gateway.protocols.table import find_operation, protocol_of
from router.errors import Reason

ROOT = Path(__file__).resolve().parents[2]
STATUSES = {
    "InvalidRequest": (400, "invalid_request"),
    "InvalidApiKey": (401, "invalid_api_key"),
    "NotFound": (404, "not_found"),
    "ModelNotFound": (404, "model_not_found"),
    "MethodNotAllowed": (405, "method_not_allowed"),
    "RequestTimedOut": (408, "request_timeout"),
    "RequestTooLarge": (413, "request_too_large"),
    "UnsupportedCoding": (415, "unsupported_coding"),
    "Overloaded": (503, "overloaded"),
    "LogUnavailable": (503, "log_unavailable"),
}
REFUSALS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RequestError) and found is not RequestError
]
SECRET = "sk-of-a-client"
CONFIG = """
gateway:
  keys: [{{name: k, sha256: "{digest}", tenant: t}}]
upstreams: {{a: {{url: "{url}"}}}}
routes: {{"*": {{split: {{a: 1.0}}}}}}
"""


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/..",
        "/v1/./chat/completions",
        "/v1//chat/completions",
        "/v1/chat//completions",
        "/v1/%2e%2e/admin",
        "/v1/%2E%2E/admin",
        "/v1/.%2e/admin",
        "/v1/a%2f../b",
        "/v1/a%2F..%2Fb",
        "/v1/a/..%2f",
        "/v1/a\\b",
        "/v1/a%5cb",
        "/v1/a%00",
        "/v1/load_lora_adapter",
        "/v1/load_lora_adapter/",
        "/v1/load_lora_adapter;x",
        "/v1/%6coad_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/..;/metrics",
        "/v1/%252e%252e/metrics",
        "/v1/files/%c0%ae%c0%ae/metrics",
        "/v1/files/%u002e",
        "/v1/files/100%",
        "/v1/files/a%0ab",
        "/v1/files/%61",
        "/v1/chat%2fcompletions",
        "/v1/feedback/",
    ],
)
def test_tricks_with_paths_are_not_found(path: str) -> None:
    """Nothing climbs out of /v1, and no model server is changed through it."""
    with pytest.raises(NotFound):
        find_operation("POST", path)


@pytest.mark.parametrize(
    ("method", "path", "operation", "protocol"),
    [
        ("POST", "/v1/chat/completions", "chat", "openai"),
        ("GET", "/v1/chat/completions", "stored_chat", "openai"),
        ("DELETE", "/v1/chat/completions/c-1", "stored_chat", "openai"),
        ("POST", "/v1/completions", "completion", "openai"),
        ("POST", "/v1/embeddings", "embedding", "openai"),
        ("POST", "/v1/responses", "response", "openai"),
        ("GET", "/v1/responses", "responses_socket", "openai"),
        ("POST", "/v1/responses/compact", "compaction", "openai"),
        ("POST", "/v1/responses/input_tokens", "input_tokens", "openai"),
        ("GET", "/v1/responses/r-1/input_items", "stored_responses", "openai"),
        ("POST", "/v1/responses/r-1/cancel", "stored_responses", "openai"),
        ("POST", "/v1/moderations", "moderation", "openai"),
        ("POST", "/v1/images/generations", "image", "openai"),
        ("POST", "/v1/images/edits", "image_edit", "openai"),
        ("POST", "/v1/images/variations", "image_variation", "openai"),
        ("POST", "/v1/audio/speech", "speech", "openai"),
        ("POST", "/v1/audio/transcriptions", "transcription", "openai"),
        ("POST", "/v1/audio/translations", "translation", "openai"),
        ("POST", "/v1/files", "files", "openai"),
        ("GET", "/v1/files/a..b", "files", "openai"),
        ("POST", "/v1/uploads/u/parts", "uploads", "openai"),
        ("GET", "/v1/batches", "batches", "openai"),
        ("PATCH", "/v1/vector_stores/v", "vector_stores", "openai"),
        ("POST", "/v1/fine_tuning/jobs/j/cancel", "fine_tuning", "openai"),
        ("GET", "/v1/models/org%2Fname", "models", "openai"),
        ("POST", "/v1/models/churn:predict", "predict", "other"),
        ("POST", "/v1/models/churn/versions/3:classify", "predict", "other"),
        ("POST", "/v1/models/churn/infer", "predict", "other"),
        ("GET", "/v1/models/churn:predict", "models", "openai"),
        ("POST", "/v1/models/churn:delete", "models", "openai"),
        ("GET", "/v1/realtime", "realtime", "openai"),
        ("POST", "/v1/realtime/client_secrets", "realtime", "openai"),
        ("POST", "/v1/rerank", "rerank", "openai"),
        ("POST", "/v1/pooling", "pooling", "openai"),
        ("POST", "/v1/messages", "messages", "anthropic"),
        ("POST", "/v1/messages/count_tokens", "count_tokens", "anthropic"),
        ("GET", "/v1/messages/batches/b/results", "message_batches", "anthropic"),
        ("POST", "/tokenize", "tokenize", "openai"),
        ("POST", "/v2/rerank", "rerank", "openai"),
        ("POST", "/v1/decisions", "decisions", "other"),
        ("POST", "/v1/audio/odd", "other", "other"),
        ("POST", "/v1/messages_of_mine", "other", "other"),
        ("POST", "/v1/Chat/completions", "other", "other"),
        ("POST", "/v1/" + "x" * 500, "other", "other"),
    ],
)
def test_paths_name_their_operation(method: str, path: str, operation: str, protocol: str) -> None:
    """The paths of the protocols are known by names that are few, others pass."""
    found = find_operation(method, path)
    assert (found.name, found.protocol.name) == (operation, protocol)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/completions"),
        ("PUT", "/v1/chat/completions"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/realtime"),
    ],
)
def test_other_methods_are_refused(method: str, path: str) -> None:
    """An operation that is asked in one way is not asked in another."""
    with pytest.raises(MethodNotAllowed, match="takes"):
        find_operation(method, path)


def test_refusals_speak_the_protocol_of_the_path() -> None:
    """Whoever asks for messages is refused in Anthropic's shape, everyone else in OpenAI's."""
    refused = {"type_": "invalid_request_error", "code": "not_found", "param": None}
    body = protocol_of("/v1/messages/x").error_body("gone", **refused)  # type: ignore[arg-type]
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "gone"},
    }
    assert protocol_of("/v1/chat/completions").name == "openai"


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda found: found.__name__)
def test_every_refusal_is_in_the_table(refusal: type[RequestError]) -> None:
    """Each error has its own status, word and type, and stands in the tree of the docstring."""
    assert (refusal.status, refusal.reason) == STATUSES[refusal.__name__]
    assert refusal.type == ("server_error" if refusal.status >= 500 else refusal.type)
    assert refusal.type in {"invalid_request_error", "authentication_error", "server_error"}
    assert f"{refusal.__name__} " in str(errors.__doc__)
    assert str(refusal.status) in str(errors.__doc__)


def test_refusals_do_not_share_words() -> None:
    """A word tells which refusal it was."""
    assert len({refusal.reason for refusal in REFUSALS}) == len(REFUSALS) == len(STATUSES)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_used(reason: Reason) -> None:
    """No word stands in the closed list that nothing says."""
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("gateway", "router", "storage")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "router" / "errors.py"
    ]
    said = (f"Reason.{reason.name}", f'"{reason.value}"')
    assert any(word in text for text in sources for word in said)


def test_error_body_is_openais() -> None:
    """All four fields are there, `code` as a word."""
    body = errors.error_body('a "quoted"\nline', type_="t", code=Reason.NOT_FOUND, param="model")
    assert json.loads(body) == {
        "error": {"message": 'a "quoted"\nline', "type": "t", "param": "model", "code": "not_found"}
    }


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """Run an upstream."""
    with FakeUpstream() as found:
        yield found


@pytest.fixture(scope="module")
def worker(
    upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningWorker]:
    """Run a worker that asks for keys."""
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    config = CONFIG.format(digest=digest, url=upstream.url)
    with RunningWorker(tmp_path_factory.mktemp("keys"), config) as found:
        yield found


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-wrong"}], ids=["no", "wrong"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/m",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/feedback",
        "/v1/anything",
        "/v1/load_lora_adapter",
        "/v1/",
    ],
)
def test_nothing_below_v1_is_open(
    worker: RunningWorker, upstream: FakeUpstream, method: str, path: str, headers: dict[str, str]
) -> None:
    """Without a key every path is 401, whatever the method, and no upstream is asked."""
    before = len(upstream.requests)
    answer = httpx2.request(method, worker.url + path, headers=headers)
    assert answer.status_code == 401
    assert len(upstream.requests) == before


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_open(worker: RunningWorker, path: str) -> None:
    """Only the health of the gateway is told to everyone."""
    assert httpx2.get(worker.url + path).status_code == 200


@pytest.mark.parametrize(
    "header", [("Authorization", f"Bearer {SECRET}"), ("x-api-key", SECRET)], ids=["bearer", "x"]
)
def test_key_opens_and_stays_here(
    worker: RunningWorker, upstream: FakeUpstream, header: tuple[str, str]
) -> None:
    """A valid key is let in under its tenant's name, and the upstream never sees it."""
    body = {"model": "m", "messages": []}
    answer = httpx2.post(f"{worker.url}/v1/chat/completions", json=body, headers=dict([header]))
    assert answer.status_code == 200
    assert SECRET not in str(upstream.requests[-1].headers)
    assert worker.records()[-1].prediction.tenant == "t"
    assert httpx2.get(f"{worker.url}/v1/models", headers=dict([header])).status_code == 200


@pytest.mark.parametrize(
    "target", ["/v1/chat/completions#x", "//evil/v1/models", "*", "/V1/models"]
)
def test_odd_targets_are_refused(worker: RunningWorker, target: str) -> None:
    """A target that is not plainly a path of ours opens nothing."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as raw:
        raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x/#@evil\r\n\r\n".encode())
        answer = raw.recv(65536)
    assert answer.split(b" ")[1] in {b"400", b"401", b"404", b"405"}


@pytest.mark.parametrize("query", ["model=a&%6dodel=b", "%6Dodel=b", "mode%6c=b&model=a"])
def test_model_of_a_query_is_named_once_and_plainly(worker: RunningWorker, query: str) -> None:
    """A name that upstreams decode to `model` must not choose another model than the route's."""
    key = {"Authorization": f"Bearer {SECRET}"}
    answer = httpx2.get(f"{worker.url}/v1/realtime?{query}", headers=key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("value", ["1", "true", "True", "YES"])
def test_no_log_is_read_without_case(worker: RunningWorker, value: str) -> None:
    """Whoever wants no text kept need not know how the word is spelled."""
    headers = {"Authorization": f"Bearer {SECRET}", "x-driftgate-no-log": value}
    body = {"model": "m", "messages": []}
    assert httpx2.post(f"{worker.url}/v1/chat/completions", json=body, headers=headers).is_success
    assert worker.records()[-1].payload is None


def test_refused_key_is_repeated_nowhere(worker: RunningWorker) -> None:
    """A refused key is not repeated in the answer or the log."""
    wrong = {"Authorization": "Bearer sk-canary-of-a-test"}
    answer = httpx2.get(f"{worker.url}/v1/models", headers=wrong)
    frames = [msgspec.json.encode(frame) for frame in worker.frames()]
    assert b"canary" not in answer.content + b"".join(frames)
