import json
from typing import Any

import pytest

from gateway.client_call import ClientCall, TapLimits
from gateway.protocols.protocol import Peek
from gateway.protocols.table import find_operation
from gateway.stream_tap import StreamTap
from gateway.tap import PassTap, PlainTap
from router.config import UpstreamConfig
from router.upstream import Headers

BODY = b'{"model": "m",  "messages": []}'
STREAM = b'{"model":"m","stream":true}'
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "messages": "/v1/messages",
    "other": "/v1/odd",
    "files": "/v1/files",
}
AUTH = (b"Authorization", b"Bearer sk-client")


def upstream(**values: Any) -> UpstreamConfig:
    """Return an upstream's configuration."""
    return UpstreamConfig.model_validate({"name": "u", "url": "http://u/v1", **values})


def call(
    body: bytes = BODY,
    operation: str = "chat",
    headers: Headers | None = None,
    *,
    forward: bool = False,
) -> ClientCall:
    """Return a client's request."""
    asked = find_operation("POST", PATHS[operation])
    found = asked.peek(body) if asked.peek is not None and asked.strict else Peek(model="m")
    return ClientCall(
        method=b"POST",
        target=b"/chat/completions",
        headers=headers or [],
        body=body,
        operation=asked,
        peek=found,
        limits=TapLimits(1000, 100),
        traceparent=b"00-trace",
        forward_credentials=forward,
    )


def sent(one: ClientCall, config: UpstreamConfig) -> dict[bytes, list[bytes]]:
    """Return the headers that an upstream gets."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in one.request_for(config).headers:
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize("model", [None, "m"], ids=["none", "same"])
def test_body_is_the_clients(model: str | None) -> None:
    """Where nothing is to be changed the very bytes are sent."""
    assert call().request_for(upstream(model=model)).body is BODY


def test_models_name_is_the_upstreams() -> None:
    """An upstream's own model name replaces the client's."""
    assert json.loads(call().request_for(upstream(model="other")).body)["model"] == "other"


def test_configured_key_replaces_the_clients() -> None:
    """An upstream with a key gets that one alone, also when credentials are forwarded."""
    one = call(headers=[AUTH], forward=True)
    assert sent(one, upstream(api_key="sk-own"))[b"authorization"] == [b"Bearer sk-own"]


@pytest.mark.parametrize("forward", [True, False])
def test_clients_key_goes_on_only_where_it_may(*, forward: bool) -> None:
    """A client's key reaches an upstream without a key unless it is a key of this gateway."""
    found = sent(call(headers=[AUTH], forward=forward), upstream())
    assert found.get(b"authorization") == ([AUTH[1]] if forward else None)


def test_engine_gets_no_key() -> None:
    """The embedded engine sees no credentials at all."""
    engine = UpstreamConfig(name="local", engine="llama.cpp")
    assert b"authorization" not in sent(call(headers=[AUTH], forward=True), engine)


def test_configured_headers_win() -> None:
    """A client cannot add to, or go before, a header that the operator set."""
    one = call(headers=[(b"X-Team", b"client's"), (b"x-team", b"again"), (b"X-Other", b"1")])
    found = sent(one, upstream(headers={"X-Team": "operator's"}))
    assert found[b"x-team"] == [b"operator's"]
    assert found[b"x-other"] == [b"1"]


def test_trace_is_ours() -> None:
    """The upstream sees one trace context: this gateway's."""
    found = sent(call(headers=[(b"traceparent", b"client's")]), upstream())
    assert found[b"traceparent"] == [b"00-trace"]


@pytest.mark.parametrize(
    ("body", "operation", "adds"),
    [
        (STREAM, "chat", True),
        (STREAM, "completion", True),
        (BODY, "chat", False),
        (b'{"model":"m","stream":false}', "chat", False),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}', "chat", False),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":false}}', "chat", True),
    ],
    ids=["chat", "completion", "plain", "not-streamed", "asked", "declined"],
)
def test_usage_is_asked_for(body: bytes, operation: str, *, adds: bool) -> None:
    """A stream whose client did not ask for usage asks for it, and hides it again."""
    one = call(body, operation)
    assert one.adds_usage is adds
    request = json.loads(one.request_for(upstream()).body)
    asked = request.get("stream_options", {}).get("include_usage", False)
    assert asked is (adds or b"usage" in body)
    tap = one.new_tap(upstream())
    assert getattr(tap, "hide_usage", False) is adds


def test_other_paths_are_never_edited() -> None:
    """A body that is not understood is not edited, whatever it says of models and streams."""
    one = call(STREAM, "other")
    assert one.request_for(upstream(model="other")).body is STREAM


@pytest.mark.parametrize(
    ("body", "operation", "kind"),
    [(BODY, "chat", PlainTap), (STREAM, "chat", StreamTap), (BODY, "other", PassTap)],
)
def test_tap_fits_the_request(body: bytes, operation: str, kind: type) -> None:
    """Each attempt has a fresh tap for what was asked; the newest is kept."""
    one = call(body, operation)
    first, second = one.new_tap(upstream()), one.new_tap(upstream())
    assert type(first) is kind
    assert first is not second
    assert one.tap is second
