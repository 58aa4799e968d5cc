import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.openai_text import answer_text, prompt_text

JSON, SSE = "application/json", "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"content": "b"}]}, "a\nb"),
        ({"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}, "a"),
        ({"messages": [{"content": None}, {"content": "b"}]}, "b"),
        ({"messages": []}, ""),
        ({"prompt": "a"}, "a"),
        ({"prompt": ["a", "b"]}, "a\nb"),
        ({"prompt": [[1, 2], [3]]}, ""),
        ({"input": ["a"]}, "a"),
        ({"input": [{"content": [{"text": "a"}]}]}, "a"),
        ({}, ""),
    ],
    ids=range(10),
)
def test_prompt_is_every_text_in_order(body: dict[str, Any], text: str) -> None:
    """Messages, prompts and inputs give their texts, parts included, other things none."""
    assert prompt_text(json.dumps(body).encode()) == text


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages": [{"cont', b"\xff", b"[" * 100_000])
def test_cut_prompt_is_unknown(body: bytes) -> None:
    """A part of a prompt is not a prompt."""
    assert prompt_text(body) is None


@pytest.mark.parametrize("unit", ["[%s]", '{"content":%s}', '{"text":[%s]}'])
def test_deep_prompt_is_no_text(unit: str) -> None:
    """Texts far below the parts of a message are left out, and no depth stops the ingest."""
    for depth in (20, 400, 900, 990):
        nested = '"deep"'
        for _ in range(depth):
            nested = unit % nested
        body = f'{{"messages":["shallow",{nested}]}}'.encode()
        assert prompt_text(body) in {"shallow", None}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}, "a"),
        ({"choices": [{"text": "a"}]}, "a"),
        ({"choices": [{"message": {"content": None, "tool_calls": []}}]}, None),
        ({"choices": []}, None),
        ({"choices": [5]}, None),
        ({"choices": {}}, None),
        ({"data": []}, None),
        ([], None),
    ],
    ids=range(8),
)
def test_plain_answer_is_the_first_choices_text(body: Any, text: str | None) -> None:
    """The first choice's text is what the model said; without one it is unknown."""
    assert answer_text(json.dumps(body).encode(), JSON) == text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_streamed_answer_is_joined(end: str) -> None:
    """The deltas of a stream make the text; comments, roles, usage and [DONE] add nothing."""
    pieces: list[Any] = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"delta": {"content": "Grüße"}}]},
        {"choices": [{"delta": {"content": None, "tool_calls": []}}]},
        {"choices": [{"delta": {"content": ", \u2028you"}}]},
        {"choices": [], "usage": {}},
    ]
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in pieces]
    body = f": hello{end}{end}{''.join(lines)}data: [DONE]{end}{end}"
    assert answer_text(body.encode(), SSE) == "Grüße, \u2028you"


def test_streamed_completion_is_joined() -> None:
    """The older protocol's text is read, too."""
    body = b'data: {"choices":[{"text":"a"}]}\n\ndata:{"choices":[{"text":"b"}]}\n\n'
    assert answer_text(body, SSE) == "ab"


@given(st.binary(max_size=200), st.sampled_from([JSON, SSE, "text/html", ""]))
def test_any_bytes_are_read_without_an_error(body: bytes, content_type: str) -> None:
    """Recorded bytes of any kind never stop the ingest."""
    found = answer_text(body, content_type)
    assert found is None or isinstance(found, str)
    asked = prompt_text(body)
    assert asked is None or isinstance(asked, str)


def test_text_of_a_stream_is_the_first_choices() -> None:
    """Choices come mixed in a stream; the text is the first one's, as it is of a plain answer."""
    said = [(0, "a"), (1, "x"), (0, "b"), (1, "y")]
    events = [{"choices": [{"index": at, "delta": {"content": text}}]} for at, text in said]
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    assert answer_text(stream, SSE) == "ab"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_event_over_several_lines_is_one_object(end: str) -> None:
    """An object may be written over many `data` lines (WHATWG HTML §9.2.6)."""
    text = json.dumps({"choices": [{"delta": {"content": "a"}}]}, indent=1)
    lines = [f"data: {line}{end}" for line in text.splitlines()]
    stream = ("\ufeff" + "".join(lines) + end).encode()
    assert answer_text(stream, SSE) == "a"
    assert answer_text(stream.rstrip(), SSE) == "a"


_CONTENT = st.one_of(st.none(), st.text(max_size=5), st.integers(0, 1))
_EVENT = st.one_of(
    st.fixed_dictionaries(
        {"choices": st.lists(st.fixed_dictionaries(
            {"delta": st.fixed_dictionaries({}, optional={"content": _CONTENT})},
            optional={"index": st.integers(0, 1), "text": _CONTENT},
        ), max_size=2)},
    ),
    st.fixed_dictionaries({"usage": st.just({"total_tokens": 1})}),
    st.fixed_dictionaries({"type": st.just("response.output_text.delta"), "delta": _CONTENT}),
    st.just("no object"),
)  # fmt: skip
_EVENTS = st.lists(
    st.tuples(_EVENT, st.sampled_from(["data: %s", "data:%s", "event: e\ndata: %s", ": c\n"]))
)


@given(_EVENTS)
def test_a_usual_stream_is_read_as_an_unusual_one(events: list[tuple[object, str]]) -> None:
    """The quick way of reading events finds what the careful way finds, which CR LF takes."""
    pieces = [form % json.dumps(event) if "%" in form else form for event, form in events]
    stream = "".join(f"{piece}\n\n" for piece in [*pieces, "data: [DONE]"]).encode()
    careful = stream.replace(b"\n", b"\r\n")
    assert answer_text(stream, SSE) == answer_text(careful, SSE)
