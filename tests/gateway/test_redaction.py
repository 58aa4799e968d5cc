import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.protocols.table import ANTHROPIC
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


def cut(pieces: Callable[[str], Any]) -> bytes:
    """Return a stream that says a secret in pieces, each in an event of some form."""
    events = [pieces(piece) for piece in ("pay 1234", "-56", "78 now")]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


CUT = {
    "arguments": lambda piece: {
        "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]
    },
    "reasoning": lambda piece: {"choices": [{"delta": {"reasoning_content": piece}}]},
    "completion": lambda piece: {"choices": [{"text": piece}]},
    "second choice": lambda piece: {"choices": [{"index": 1, "delta": {"content": piece}}]},
    "response": lambda piece: {"type": "response.output_text.delta", "delta": piece},
    "two choices": lambda piece: {
        "choices": [{"index": n, "delta": {"content": piece}} for n in range(2)]
    },
}


@pytest.mark.parametrize("form", CUT)
def test_secret_is_found_in_whatever_grows(form: str) -> None:
    """No form in which a stream says something in pieces hides a secret."""
    cleaned = REDACTOR.body(cut(CUT[form]), "text/event-stream")
    assert b"1234" not in cleaned
    assert b"5678" not in cleaned


@pytest.mark.parametrize(
    "delta",
    [("text_delta", "text"), ("input_json_delta", "partial_json"), ("thinking", "thinking")],
)
def test_secret_cut_into_anthropics_events(delta: tuple[str, str]) -> None:
    """Anthropic's blocks are read as its protocol says them; what stays is of its protocol, too."""
    kind, key = delta
    stream = cut(
        lambda piece: {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": kind, key: piece},
        }
    )
    cleaned = REDACTOR.body(stream, "text/event-stream", ANTHROPIC.texts)
    assert b"1234" not in cleaned
    expected = "pay [redacted] now" if key == "text" else ""
    assert ANTHROPIC.texts.answer(cleaned, "text/event-stream") == expected


@pytest.mark.parametrize("odd", [[1], {"a": 1}, 1.5, None, "x"])
def test_odd_places_hide_nothing(odd: Any) -> None:
    """Whatever an upstream writes in place of an index, a cut secret is found."""
    cleaned = REDACTOR.body(
        cut(
            lambda piece: {
                "choices": [{"index": odd, "delta": {"content": piece}}],
                "item_id": odd,
            }
        ),
        "text/event-stream",
    )
    assert b"1234" not in cleaned
    assert b"[redacted]" in cleaned


def test_different_places_are_no_one_text() -> None:
    """What two choices say is not read as one."""
    events = [
        {"choices": [{"index": n, "delta": {"content": piece}}]}
        for n, piece in enumerate(("1234", "-5678"))
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    assert REDACTOR.body(body, "text/event-stream") == body


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
