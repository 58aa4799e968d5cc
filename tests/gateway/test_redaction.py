import json

import pytest

from gateway.redaction import MAX_PARSED_BYTES, Redactor

REDACTOR = Redactor([r"sk-[a-z0-9é]+", r"\b\d{4}-\d{4}\b"])


def stream(*pieces: str) -> bytes:
    """Return a stream whose events carry these pieces of text."""
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return b"".join(f"data: {json.dumps(e)}\n\n".encode() for e in events) + b"data: [DONE]\n\n"


def test_json_is_read_before_it_is_matched() -> None:
    """A secret that JSON writes with escapes is found, in keys and values at any depth."""
    body = b'{"a": [{"sk-1": "x sk-\\u00e9\\u00e91 y"}], "n": 1.50}'
    assert REDACTOR.body(body, "application/json") == (
        b'{"a":[{"[redacted]":"x [redacted] y"}],"n":1.5}'
    )


def test_what_holds_nothing_stays_as_it_is() -> None:
    """A body without a match keeps its very bytes."""
    body = b'{ "a" : "nothing",\n "n": 1.50 }'
    assert REDACTOR.body(body, "application/json") == body
    assert REDACTOR.body(stream("no", "thing"), "text/event-stream") == stream("no", "thing")


@pytest.mark.parametrize("pieces", [("pay 1234", "-56", "78 now"), ("pay 1234-5678 now",)])
def test_secret_cut_into_events_is_found(pieces: tuple[str, ...]) -> None:
    """A secret that a stream cuts into events is found in its joined text."""
    cleaned = REDACTOR.body(stream(*pieces), "text/event-stream; charset=utf-8")
    assert b"1234" not in cleaned
    assert b"5678" not in cleaned
    assert b"pay [redacted] now" in cleaned


@pytest.mark.parametrize("body", [b"key sk-abc", b'{"cut": "sk-abc', b"\xff sk-abc"])
def test_what_is_not_json_is_matched_as_bytes(body: bytes) -> None:
    """Other bodies, cut ones too, are matched as they are."""
    assert b"sk-abc" not in REDACTOR.body(body, "application/json")


def test_huge_and_deep_bodies_are_matched_as_bytes() -> None:
    """Bodies too large or too deep to read are matched all the same."""
    huge = b'{"a": "' + b"x" * MAX_PARSED_BYTES + b' sk-abc"}'
    assert b"sk-abc" not in REDACTOR.body(huge, "application/json")
    deep = b"[" * 5_000 + b'"sk-abc"' + b"]" * 5_000
    assert b"sk-abc" not in REDACTOR.body(deep, "application/json")


def test_without_patterns_nothing_is_read() -> None:
    """No pattern, no work."""
    body = b'{ "a": 1 }'
    assert not Redactor([])
    assert Redactor([]).body(body, "application/json") is body
