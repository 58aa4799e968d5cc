import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.text.parts import SEPARATOR, is_cut, marked_request, split_request

TEXT = st.text(max_size=120)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": TEXT})
BODY = st.fixed_dictionaries(
    {},
    optional={
        "model": TEXT,
        "messages": st.lists(MESSAGE, max_size=8) | TEXT | st.none(),
        "input": st.lists(TEXT | st.integers(), max_size=40),
        "tools": st.lists(st.dictionaries(TEXT, TEXT, max_size=3), max_size=4),
        "system": TEXT,
    },
)


def chat(*contents: str, **more: object) -> bytes:
    """Return a request of the chat API."""
    messages = [{"role": "user", "content": content} for content in contents]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


@given(
    body=BODY,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    cut_at=st.integers(0, 400),
)
def test_joined_pieces_are_the_request(
    *, body: dict[str, object], indent: int | None, ascii_only: bool, cut_at: int
) -> None:
    """Whole or cut short, in any layout: the same bytes, and text that decodes alike."""
    whole = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
    for request in (whole, whole[:cut_at]):
        pieces = split_request(request)
        assert b"".join(pieces) == request
        joined = "".join(piece.decode("utf-8", "replace") for piece in pieces)
        assert joined == request.decode("utf-8", "replace")


@given(st.binary(max_size=300))
def test_any_bytes_survive(body: bytes) -> None:
    """Bodies that are no JSON come back as they decode."""
    padded = b'{"messages":["' + body + b'"]}' + b" " * 128
    for request in (body, padded):
        marked = marked_request(request)
        pieces = marked.split(SEPARATOR.decode()) if is_cut(request) else [marked]
        assert "".join(pieces) == request.decode("utf-8", "replace")


def test_a_growing_chat_repeats_its_pieces() -> None:
    """Of a request with one more message all earlier messages are old pieces."""
    messages = [f"{number} " + "words " * 20 for number in range(6)]
    shorter = split_request(chat(*messages[:5], temperature=0.5))
    longer = split_request(chat(*messages, temperature=0.5))
    assert len(longer) == len(shorter) + 1 == 8
    assert longer[:6] == shorter[:6]
    assert longer[-1] == shorter[-1]


def test_large_values_are_pieces() -> None:
    """Tools and instructions repeat in every request, whatever stands beside them."""
    tools = [{"name": "search", "description": "x" * 200}]
    first = split_request(chat("one", tools=tools, seed=1))
    second = split_request(chat("two", tools=tools, seed=2))
    assert json.dumps(tools).encode() in set(first) & set(second)


def test_many_small_items_are_few_pieces() -> None:
    """A list of numbers is not cut at every number."""
    body = json.dumps({"input": list(range(10_000))}).encode()
    assert len(split_request(body)) < len(body) / 60


@pytest.mark.parametrize("spaces", [True, False])
def test_a_chat_that_was_cut_short_is_cut_at_its_messages(*, spaces: bool) -> None:
    """A request over `max_payload_bytes` is no JSON and shares its pieces all the same."""
    messages = [f"{number} " + "words " * 20 for number in range(6)]
    request = chat(*messages)
    if not spaces:
        request = request.replace(b'": ', b'":').replace(b"}, {", b"},{")
    torn = split_request(request[: len(request) - 40])
    assert len(torn) >= 6
    assert len(set(torn) & set(split_request(request[: len(request) - 60]))) >= 5
