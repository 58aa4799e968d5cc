from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.protocols.facts import Facts
from gateway.recording import MAX_TAGS, Recorder, RequestRecord, hashed_user_key, parse_tags
from router.config import UpstreamConfig
from router.errors import Reason
from router.outcome import AttemptResult
from storage.config import RecordConfig
from storage.records import End

PRICES = {"big": {"input": 2, "output": 10, "cached_input": 0.5}, "flat": {"input": 1}}


def upstream(**values: Any) -> UpstreamConfig:
    """Return an upstream with prices."""
    return UpstreamConfig.model_validate({"name": "a", "url": "http://a/v1", **values})


def recorder(upstreams: dict[str, UpstreamConfig] | None = None, **config: Any) -> Recorder:
    """Return a recorder with a policy."""
    return Recorder.of(
        RecordConfig.model_validate(config), upstreams or {"a": upstream(prices=PRICES)}
    )


def record(**values: Any) -> RequestRecord:
    """Return a request that was answered."""
    fields: dict[str, Any] = {
        "id": "01900000-0000-7000-8000-000000000000",
        "started_at": 1_000_000,
        "started_s": 10.0,
        "operation": "chat",
        "tenant": "t",
        "trace_id": "0" * 31 + "1",
        "span_id": "0" * 15 + "1",
        "upstream": "a",
        "model_asked": "big",
        "status": 200,
    }
    return RequestRecord(**(fields | values))


def end(one: RequestRecord, policy: Recorder | None = None, now_s: float = 12.0) -> End:
    """Return the record as it is written."""
    return (policy or recorder()).end(one, [], now_s=now_s)


def cost(facts: Facts, prices: Any = None, **values: Any) -> float | None:
    """Return the cost of an answer."""
    upstreams = {"a": upstream(prices=PRICES if prices is None else prices)}
    return end(record(facts=facts, **values), recorder(upstreams)).prediction.cost_usd


def test_cost_is_tokens_times_price() -> None:
    """Input and output tokens cost their price a million."""
    facts = Facts(prompt_tokens=1000, response_tokens=100)
    assert cost(facts) == pytest.approx((1000 * 2 + 100 * 10) / 1e6)


@pytest.mark.parametrize("operation", ["count_tokens", "input_tokens"])
def test_counting_costs_nothing(operation: str) -> None:
    """Whoever asks how many tokens there would be uses none."""
    assert cost(Facts(prompt_tokens=1000), operation=operation) == 0


def test_cached_tokens_cost_less() -> None:
    """Cached prompt tokens are part of the prompt's, at their own price."""
    facts = Facts(prompt_tokens=1000, response_tokens=0, cached_tokens=400)
    assert cost(facts) == pytest.approx((600 * 2 + 400 * 0.5) / 1e6)


def test_cached_tokens_without_a_price_cost_the_same() -> None:
    """Without a price for cached input they are ordinary input."""
    facts = Facts(prompt_tokens=1000, cached_tokens=400)
    assert cost(facts, model_asked="flat") == pytest.approx(1000 / 1e6)


def test_more_cached_than_prompt_tokens_cost_no_less_than_nothing() -> None:
    """An upstream that counts wrongly does not earn money."""
    assert cost(Facts(prompt_tokens=5, cached_tokens=50)) == pytest.approx(5 * 0.5 / 1e6)


@pytest.mark.parametrize(
    ("facts", "prices", "asked"),
    [
        (Facts(), None, "big"),
        (Facts(response_tokens=7), None, "big"),
        (Facts(prompt_tokens=7), None, "unpriced"),
        (Facts(prompt_tokens=7), {}, "big"),
    ],
    ids=["no-usage", "half-usage", "no-price", "no-prices"],
)
def test_unknown_cost_is_unknown(facts: Facts, prices: Any, asked: str) -> None:
    """Without usage or price the cost is NULL, never zero."""
    assert cost(facts, prices, model_asked=asked) is None


def test_hit_costs_nothing() -> None:
    """An answer from the cache costs zero, not its price again."""
    assert cost(Facts(prompt_tokens=7), cache="hit") == 0.0


def test_model_that_answered_sets_the_price() -> None:
    """The price of the model that answered goes before that of the one asked for, then `*`."""
    prices = {"dated": {"input": 1}, "big": {"input": 2}, "*": {"input": 3}}
    facts = Facts(model_answered="dated", prompt_tokens=1_000_000)
    assert cost(facts, prices) == 1.0
    facts = Facts(model_answered="other", prompt_tokens=1_000_000)
    assert cost(facts, prices) == 2.0
    assert cost(facts, prices, model_asked="unknown") == 3.0


def test_times_add_up() -> None:
    """Latency is from the head to now; what was not spent upstream is overhead, never negative."""
    prediction = end(record(upstream_s=1.5)).prediction
    assert (prediction.latency_s, prediction.upstream_s, prediction.overhead_s) == (2.0, 1.5, 0.5)
    assert end(record(upstream_s=2.5)).prediction.overhead_s == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"stream": True, "ttft_s": 0.5, "facts": Facts(response_tokens=4)}, 0.5),
        ({"stream": True, "ttft_s": 0.5, "facts": Facts(response_tokens=1)}, None),
        ({"stream": True, "ttft_s": 0.5, "facts": Facts()}, None),
        ({"stream": True, "ttft_s": None, "facts": Facts(response_tokens=4)}, None),
        ({"stream": False, "ttft_s": 0.5, "facts": Facts(response_tokens=4)}, None),
    ],
    ids=["stream", "one-token", "no-usage", "no-token", "plain"],
)
def test_time_per_output_token(values: dict[str, Any], expected: float | None) -> None:
    """It is the time between tokens of a stream, unknown where there is none."""
    assert end(record(**values)).prediction.time_per_output_token_s == expected


def test_attempts_become_rows() -> None:
    """Each attempt has its row; one still under way lasts until now."""
    tries = [
        AttemptResult(1, "a", 5, 10.0, 10.5, 503, Reason.UPSTREAM_ERROR),
        AttemptResult(2, "b", 6, 11.0, None, 200, None, 0.25),
    ]
    found = recorder().end(record(), tries, now_s=12.0)
    assert found.prediction.attempts == 2
    assert [(a.attempt_no, a.upstream, a.latency_s, a.reason) for a in found.attempts] == [
        (1, "a", 0.5, "upstream_error"),
        (2, "b", 1.0, None),
    ]


def test_redaction_reaches_both_bodies() -> None:
    """Every match of every pattern is gone from what is written, from request and response."""
    policy = recorder(redact=(r"sk-[a-z0-9]+", r"\d{4}"))
    one = record(request=b"key sk-abc1 and 1234 and sk-d", response=b"5678 sk-x")
    payload = end(one, policy).payload
    assert payload is not None
    assert payload.request == b"key [redacted] and [redacted] and [redacted]"
    assert payload.response == b"[redacted] [redacted]"
    assert one.request.startswith(b"key sk-abc1")


def test_secret_cut_into_events_of_another_protocol() -> None:
    """A secret that Anthropic's events cut in two is not stored, what is around it is."""
    policy = recorder(redact=(r"\d{4}-\d{4}",))
    stream = b"".join(
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b"}}\n\n' % piece
        for piece in (b"pay 1234", b"-5678 now")
    )
    one = record(protocol="anthropic", response=stream, response_type="text/event-stream")
    payload = end(one, policy).payload
    assert payload is not None
    assert b"1234" not in payload.response
    assert b"5678" not in payload.response
    assert b"pay [redacted] now" in payload.response


def test_secret_at_the_cut_is_redacted() -> None:
    """Text is redacted before it is cut, so no half of a secret is left at the end."""
    policy = recorder(redact=("secret",), max_payload_bytes=8)
    payload = end(record(request=b"12345secret"), policy).payload
    assert payload is not None
    assert payload.request == b"12345[re"


def test_a_redacted_body_is_cut_by_its_new_size() -> None:
    """What redaction makes longer than the limit is cut and marked; what it shortens is not."""
    policy = recorder(redact=("ab", "x{20}"), max_payload_bytes=12)
    payload = end(record(request=b"ab1234", response=b"x" * 20), policy).payload
    assert payload is not None
    assert (payload.request, payload.request_truncated) == (b"[redacted]12", True)
    assert (payload.response, payload.response_truncated) == (b"[redacted]", False)


@pytest.mark.parametrize("pattern", [r"\u00e9", "(?u)x", r"\N{BULLET}"])
def test_a_pattern_that_bytes_cannot_have_is_refused(pattern: str) -> None:
    """Bodies are bytes: a pattern for text alone fails with the configuration, not later."""
    with pytest.raises(ValidationError, match="is not a regular expression"):
        recorder(redact=(pattern,))


@pytest.mark.parametrize(("size", "cut"), [(10, False), (11, True)])
def test_bodies_are_cut_at_the_limit(size: int, *, cut: bool) -> None:
    """Bodies longer than the limit are cut there and marked; facts keep the true sizes."""
    body = b"x" * size
    one = record(request=body, response=body, response_bytes=size)
    found = end(one, recorder(max_payload_bytes=10))
    assert found.payload is not None
    assert (found.payload.request_truncated, found.payload.response_truncated) == (cut, cut)
    assert len(found.payload.request) == len(found.payload.response) == 10
    assert (found.prediction.request_bytes, found.prediction.response_bytes) == (size, size)


def test_answer_cut_by_the_tap_is_marked() -> None:
    """A response of which only a part was kept is marked in facts and payload."""
    found = end(record(response_truncated=True))
    assert found.payload is not None
    assert found.payload.response_truncated
    assert found.prediction.truncated


@pytest.mark.parametrize(
    ("config", "values"),
    [({"payloads": "none"}, {}), ({}, {"log_payload": False}), ({"sample": 0.0}, {})],
    ids=["configured", "asked", "sampled"],
)
def test_text_is_left_out(config: dict[str, Any], values: dict[str, Any]) -> None:
    """Without text the facts are whole all the same."""
    found = end(record(request=b"text", **values), recorder(**config))
    assert found.payload is None
    assert found.prediction.request_bytes == 4


@pytest.mark.parametrize(
    ("tail", "sample", "kept"),
    [
        ("00000000", 0.01, True),
        ("ffffffff", 0.99, False),
        ("ffffffff", 1.0, True),
        ("7fffffff", 0.5, True),
        ("80000000", 0.5, False),
    ],
)
def test_sample_is_drawn_by_the_id(tail: str, sample: float, *, kept: bool) -> None:
    """The id decides, so the share is exact and the same prediction is drawn again."""
    one = record(id=f"01900000-0000-7000-8000-0000{tail}")
    assert (end(one, recorder(sample=sample)).payload is not None) is kept


def test_user_key_is_a_pseudonym() -> None:
    """A user's key is stored hashed: the same for the same tenant, another for another tenant."""
    one = hashed_user_key("t", b"alice@example.com")
    assert one == hashed_user_key("t", b"alice@example.com")
    assert one != hashed_user_key("u", b"alice@example.com")
    assert one != hashed_user_key("t", b"bob@example.com")
    assert len(one) == 32
    assert hashed_user_key("t" * 500, b"alice")


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (None, ()),
        (b"", ()),
        (b"a", ("a",)),
        (b" a , b=1,team:x/y ", ("a", "b=1", "team:x/y")),
        (b"good,bad tag,<script>,\xff,,ok", ("good", "ok")),
        (b"x" * 65, ()),
        (b"x" * 64, ("x" * 64,)),
    ],
)
def test_tags_are_plain_words(value: bytes | None, tags: tuple[str, ...]) -> None:
    """Tags are trimmed; odd and overlong ones are dropped."""
    assert parse_tags(value) == tags


@given(st.binary(max_size=2000))
def test_tags_are_bounded(value: bytes) -> None:
    """Whatever a client sends, tags are few, short and plain."""
    tags = parse_tags(value + b",a" * 50)
    assert len(tags) <= MAX_TAGS
    assert all(0 < len(tag) <= 64 and tag.isascii() and tag.isprintable() for tag in tags)


def test_begin_says_who_asked_for_what() -> None:
    """The first frame names route, variant, upstream and tenant before any answer."""
    begin = record(route="chat", variant="v", stream=True, request=b"12345").begin()
    assert (begin.route, begin.variant, begin.upstream, begin.tenant) == ("chat", "v", "a", "t")
    assert (begin.stream, begin.request_bytes, begin.operation) == (True, 5, "chat")
