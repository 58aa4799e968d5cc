import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.openai import peek
from gateway.rewrite import with_model, with_usage

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = texts.filter(bool)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "a", '"model"']) | texts, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(texts, values), names, names, st.booleans())
def test_only_the_models_name_changes(
    others: dict[str, Any],
    old: str,
    new: str,
    ascii_only: bool,  # noqa: FBT001  (drawn)
) -> None:
    """Whatever else a body holds, its model is the new one and every other value is as it was."""
    body = {**others, "model": old, "stream": None, "user": None, "safety_identifier": None}
    body["stream_options"] = None
    raw = json.dumps(body, ensure_ascii=ascii_only).encode()
    assert json.loads(with_model(raw, old, new)) == {**body, "model": new}


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"model":"old"},"model":"old"}',
        b'{"tools":[{"model":"old"},{"model": "old"}],"model" :\n"old"}',
        b'{"messages":[{"content":"say \\"model\\":\\"old\\""}],"model":"old"}',
        b'{"model":"old","metadata":{"model":"old"}}',
    ],
    ids=["nested-first", "list", "prompt", "nested-last"],
)
def test_other_bytes_stay(body: bytes) -> None:
    """The name is replaced where it counts, and not a byte elsewhere."""
    edited = with_model(body, "old", "new")
    assert peek(edited).model == "new"
    assert edited.replace(b'"new"', b'"old"') == body
    assert edited.count(b'"new"') == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"o\\u006cd","x":1}',
        b'{"mod\\u0065l":"old","x":1}',
        b'{"model":"first","x":1,"model":"old"}',
        b'{"model":"old","x":1,"model":"old"}',
    ],
    ids=["value", "name", "twice", "twice-the-same"],
)
def test_escapes_and_duplicates_are_rewritten_too(body: bytes) -> None:
    """A name in escapes or given twice is what the upstream reads, too."""
    edited = json.loads(with_model(body, "old", "new"))
    assert edited == {"model": "new", "x": 1}


def test_many_candidates_do_not_hold_the_loop() -> None:
    """A body full of what looks like the model's name costs no more than reading it a few times."""
    body = b'{"x":[' + b",".join([b'{"model":"old"}'] * 20_000) + b'],"model":"old"}'
    started_s = time.process_time()
    edited = with_model(body, "old", "new")
    assert time.process_time() - started_s < 0.5
    assert json.loads(edited)["model"] == "new"
    assert json.loads(edited)["x"] == [{"model": "old"}] * 20_000


def test_names_are_escaped() -> None:
    """A name with quotes and line breaks cannot break out of its string."""
    new = 'a","stream":true,"x":"\n'
    assert json.loads(with_model(b'{"model":"old"}', "old", new)) == {"model": new}


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("", {"include_usage": True}),
        (',"stream_options":null', {"include_usage": True}),
        (',"stream_options":{}', {"include_usage": True}),
        (',"stream_options":{"include_usage":false}', {"include_usage": True}),
        (
            ',"stream_options":{"include_obfuscation":false,"include_usage":null}',
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
    ids=["absent", "null", "empty", "false", "others"],
)
def test_usage_is_asked_for_and_other_options_stay(options: str, sent: dict[str, bool]) -> None:
    """`include_usage` is set; what else the client asked of the stream is kept."""
    body = f'{{"model":"m","stream":true{options}}}'.encode()
    if "null}" in options:
        body = body.replace(b',"include_usage":null', b"")
    edited = json.loads(with_usage(body, peek(body)))
    assert edited == {"model": "m", "stream": True, "stream_options": sent}


def test_mention_of_stream_options_is_no_option() -> None:
    """The words in a prompt or nested object do not count as the option."""
    body = b'{"model":"m","x":{"stream_options":1},"messages":[]}'
    edited = json.loads(with_usage(body, peek(body)))
    assert edited["stream_options"] == {"include_usage": True}
    assert edited["x"] == {"stream_options": 1}
