import gzip
import json
from typing import Any

import pytest
from msgspec.structs import replace

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


def body_of(one: ClientCall, config: UpstreamConfig) -> bytes:
    """Return the body that an upstream gets."""
    body = one.request_for(config).body
    assert isinstance(body, bytes)
    return body


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
    assert json.loads(body_of(call(), upstream(model="other")))["model"] == "other"


def test_configured_key_replaces_the_clients() -> None:
    """An upstream with a key gets that one alone, also when credentials are forwarded."""
    one = call(headers=[AUTH], forward=True)
    assert sent(one, upstream(api_key="sk-own"))[b"authorization"] == [b"Bearer sk-own"]


@pytest.mark.parametrize("forward", [True, False])
def test_clients_key_goes_on_only_where_it_may(*, forward: bool) -> None:
    """A client's key reaches an upstream without a key unless it is a key of this gateway."""
    found = sent(call(headers=[AUTH], forward=forward), upstream())
    assert found.get(b"authorization") == ([AUTH[1]] if forward else None)


@pytest.mark.parametrize("name", ["api-key", "X-Goog-Api-Key", "Authorization"])
def test_key_among_an_upstreams_headers_is_its_own(name: str) -> None:
    """A client's key does not go to an upstream whose key the operator set as a header."""
    own = upstream(headers={name: "own"})
    one = call(headers=[AUTH], forward=True)
    assert sent(one, own).get(b"authorization", [b"own"]) == [b"own"]
    assert not one.new_tap(own).forwards_credentials


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
    request = json.loads(body_of(one, upstream()))
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


ANTHROPIC = {"protocol": "anthropic"}
KEY = (b"x-api-key", b"sk-client")


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (ANTHROPIC, b"x-api-key", b"sk-own"),
        ({}, b"authorization", b"Bearer sk-own"),
    ],
    ids=["anthropic", "openai"],
)
def test_key_is_shown_as_the_upstream_reads_it(
    config: dict[str, str], name: bytes, value: bytes
) -> None:
    """Anthropic reads `x-api-key`, everyone else `Authorization`; the client's is never shown."""
    one = call(STREAM, "messages", [AUTH, KEY])
    found = sent(one, upstream(api_key="sk-own", **config))
    assert found[name] == [value]
    assert "sk-client" not in str(found)


@pytest.mark.parametrize("shown", [AUTH, KEY], ids=["bearer", "x-api-key"])
def test_clients_key_of_either_kind_goes_on_to_anthropic(shown: tuple[bytes, bytes]) -> None:
    """Anthropic's clients show their key in one way or the other; an upstream gets it so."""
    one = call(STREAM, "messages", [shown], forward=True)
    assert sent(one, upstream(**ANTHROPIC))[shown[0].lower()] == [shown[1]]


@pytest.mark.parametrize(
    ("headers", "version"),
    [([], b"2023-06-01"), ([(b"Anthropic-Version", b"2026-10-21")], b"2026-10-21")],
    ids=["default", "clients"],
)
def test_anthropics_version_is_always_there(headers: Headers, version: bytes) -> None:
    """A client's version passes; a default stands in for none."""
    found = sent(call(STREAM, "messages", headers), upstream(**ANTHROPIC))
    assert found[b"anthropic-version"] == [version]


@pytest.mark.parametrize(
    ("operation", "config", "suits"),
    [
        ("chat", {}, True),
        ("chat", ANTHROPIC, False),
        ("messages", {}, True),
        ("messages", ANTHROPIC, True),
        ("files", ANTHROPIC, True),
        ("other", ANTHROPIC, True),
        ("chat", {"url": None, "engine": "llama.cpp"}, True),
        ("messages", {"url": None, "engine": "llama.cpp"}, False),
        ("files", {"url": None, "engine": "llama.cpp"}, False),
    ],
)
def test_upstreams_suit_what_they_speak(
    operation: str, config: dict[str, Any], *, suits: bool
) -> None:
    """The engine speaks chat, completions and embeddings; Anthropic its own protocol."""
    assert call(STREAM, operation).suits(upstream(**config)) is suits


@pytest.mark.parametrize(
    ("operation", "method", "repeatable"),
    [
        ("chat", b"POST", True),
        ("files", b"POST", False),
        ("files", b"DELETE", False),
        ("files", b"GET", True),
    ],
)
def test_only_what_does_no_harm_is_repeated(
    operation: str, method: bytes, *, repeatable: bool
) -> None:
    """What creates or removes something is sent once."""
    assert replace(call(BODY, operation), method=method).repeatable is repeatable


def test_coded_body_is_sent_as_it_came() -> None:
    """A body that was inflated to be read goes on as the client coded it."""
    coded = gzip.compress(BODY)
    headers = [(b"Content-Encoding", b"gzip")]
    one = replace(call(headers=headers), body=coded, text=BODY)
    assert one.request_for(upstream()).body is coded
    assert sent(one, upstream())[b"content-encoding"] == [b"gzip"]


def test_renamed_coded_body_is_sent_plain() -> None:
    """Where the model's name is replaced the body goes on without its coding."""
    headers = [(b"Content-Encoding", b"gzip")]
    one = replace(call(headers=headers), body=gzip.compress(BODY), text=BODY)
    assert json.loads(body_of(one, upstream(model="other")))["model"] == "other"
    assert b"content-encoding" not in sent(one, upstream(model="other"))


def test_model_of_a_query_is_replaced_there() -> None:
    """A realtime conversation names its model in the query."""
    asked = find_operation("GET", "/v1/realtime")
    one = replace(call(), operation=asked, target=b"/realtime?a=1&model=m&b=2", body=b"")
    target = one.request_for(upstream(model="o/ther")).target
    assert target == b"/realtime?a=1&model=o%2Fther&b=2"
