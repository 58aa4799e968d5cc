import base64
import struct
from collections.abc import Iterator

import httpx2
import openai
import pytest
from support.engine_kit import EngineProcess

HELLO = [{"role": "user", "content": "Say: one two three"}]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Start one engine for this module and connect to it."""
    with EngineProcess(tmp_path_factory.mktemp("engine")) as engine, engine.client() as client:
        engine.wait_ready()
        yield client


@pytest.fixture(scope="module")
def client(http: httpx2.Client) -> openai.OpenAI:
    """Give the official client over the same socket."""
    return openai.OpenAI(
        base_url="http://engine/v1", api_key="none", http_client=http, max_retries=0
    )


def _chat(http: httpx2.Client, **fields: object) -> httpx2.Response:
    body = {"model": "any", "messages": HELLO, "max_tokens": 4, "temperature": 0} | fields
    return http.post("/v1/chat/completions", json=body)


def test_the_official_client_gets_a_chat_answer(client: openai.OpenAI) -> None:
    """Whatever model was asked for, the answer names the one there is."""
    answer = client.chat.completions.create(
        model="gpt-5",
        messages=[{"role": "user", "content": "Say: one two three"}],
        max_tokens=20,
        temperature=0,
    )
    assert answer.model == "smollm2-135m-instruct"
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint == "fp_b179c9523d0e"
    assert "two" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_official_client_gets_a_stream(client: openai.OpenAI) -> None:
    """The same text in pieces, one finish_reason, and the usage at the end."""
    options = {"model": "m", "messages": HELLO, "max_tokens": 20, "temperature": 0}
    plain = client.chat.completions.create(**options)  # type: ignore[call-overload]  # A dict.
    chunks = list(
        client.chat.completions.create(  # type: ignore[call-overload]  # A dict.
            **options, stream=True, stream_options={"include_usage": True}
        )
    )
    *parts, last = chunks
    assert "".join(c.choices[0].delta.content or "" for c in parts) == (
        plain.choices[0].message.content
    )
    assert [c.choices[0].finish_reason for c in parts if c.choices[0].finish_reason] == ["stop"]
    assert parts[0].choices[0].delta.role == "assistant"
    assert (last.choices, last.usage) == ([], plain.usage)


def test_usage_is_left_out_of_a_stream_that_did_not_ask(http: httpx2.Client) -> None:
    """No event carries it, and the stream ends with `[DONE]`."""
    text = _chat(http, stream=True).text
    assert "usage" not in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_plain_completion_continues_its_prompt(client: openai.OpenAI) -> None:
    """At once and as events."""
    options = {"model": "m", "prompt": "One, two, three,", "max_tokens": 6, "temperature": 0}
    plain = client.completions.create(**options)  # type: ignore[call-overload]  # A dict.
    chunks = client.completions.create(**options, stream=True)  # type: ignore[call-overload]  # As above.
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain.choices[0].text
    assert plain.object == "text_completion"
    assert plain.usage.completion_tokens == 6


def test_an_answer_without_max_tokens_is_bounded(http: httpx2.Client) -> None:
    """By the slot's context at the latest."""
    body = {"prompt": "word " * 200, "temperature": 0}
    usage = http.post("/v1/completions", json=body).json()["usage"]
    assert usage["total_tokens"] <= 256


def test_embeddings_come_as_numbers_and_in_base64(client: openai.OpenAI) -> None:
    """The client asks for base64 by default; both say the same."""
    first = client.embeddings.create(model="m", input=["a cat", "a dog"])
    second = client.embeddings.create(model="m", input="a cat", encoding_format="float")
    raw = client.embeddings.create(model="m", input="a cat", encoding_format="base64")
    assert len(first.data) == 2
    assert first.data[0].embedding == pytest.approx(second.data[0].embedding, abs=1e-6)
    packed = base64.b64decode(str(raw.data[0].embedding))
    assert len(struct.unpack(f"<{len(packed) // 4}f", packed)) == len(second.data[0].embedding)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_schema"}),
        ("logprobs", True),
        ("n", 2),
        ("logit_bias", {"5": 100}),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", 3),
        ("temperature", 10**400),
        ("top_p", 0),
        ("seed", 1.5),
        ("max_tokens", 0),
        ("max_tokens", "9"),
        ("max_completion_tokens", -1),
        ("top_k", 10**9),
        ("stop", 7),
        ("stop", [""]),
        ("stop", ["x"] * 17),
        ("stream", "yes"),
        ("stream_options", []),
        ("messages", "hi"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(
    http: httpx2.Client, field: str, value: object
) -> None:
    """400 in OpenAI's shape, with `param`."""
    answer = _chat(http, **{field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", field)
    assert f"`{field}`" in error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [], "n": 1, "logprobs": False, "response_format": {"type": "text"}},
        {"tools": None, "stop": None, "temperature": None, "stream": None, "seed": None},
        {"user": "u", "metadata": {"a": "b"}, "n_discard": -1, "unknown": [1]},
        {"seed": -5, "top_k": 0, "stop": ["x", "y"], "max_completion_tokens": 3},
    ],
)
def test_harmless_fields_are_answered(http: httpx2.Client, fields: dict[str, object]) -> None:
    """Values that ask for nothing, nulls and fields we do not know."""
    assert _chat(http, **fields).status_code == 200


def test_a_prompt_longer_than_the_context_is_the_callers_error(http: httpx2.Client) -> None:
    """Also as a stream: the status is not sent before it is known."""
    messages = [{"role": "user", "content": "word " * 300}]
    for stream in (False, True):
        answer = _chat(http, messages=messages, stream=stream)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(http: httpx2.Client, body: bytes) -> None:
    """Broken, nested without end, or of another type."""
    answer = http.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_unknown_paths_and_methods_are_told_apart(http: httpx2.Client) -> None:
    """404 and 405."""
    assert http.get("/v1/files").status_code == 404
    assert http.get("/v1/chat/completions").status_code == 405


def test_health_says_what_the_engine_is(http: httpx2.Client) -> None:
    """Model, device and slots."""
    body = http.get("/healthz").json()
    assert body["status"] == "ok"
    assert body["engine"]["scheduler"]["slots"] == 2
