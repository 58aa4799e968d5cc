import json
from typing import Any

import pytest
from support.log_records import end_of

from gateway.enrich import enrich
from storage.records import End, Payload, Signals

SSE = "text/event-stream"
SCHEMA = {"type": "object", "required": ["a"]}
TOOLS = [{"type": "function", "function": {"name": "look"}}]


def signals(
    request: dict[str, Any],
    answer: dict[str, Any] | list[dict[str, Any]],
    **facts: Any,
) -> Signals:
    """Return what one record shows; a list is a stream of events."""
    said = [answer] if isinstance(answer, dict) else answer
    lines = [json.dumps(one) for one in said]
    body = lines[0] if isinstance(answer, dict) else "".join(f"data: {one}\n\n" for one in lines)
    kind = "application/json" if isinstance(answer, dict) else SSE
    facts = {"operation": "chat", "finish_reason": "stop", "tool_calls": 0, **facts}
    payload = Payload(json.dumps(request).encode(), body.encode(), response_type=kind)
    (found,) = enrich([End(end_of(1, **facts).prediction, (), payload)])
    return found


def chat(content: str | None, **message: Any) -> dict[str, Any]:
    """Return a plain answer."""
    return {"choices": [{"message": {"content": content, **message}}]}


def message(*blocks: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of Anthropic's."""
    return {"type": "message", "content": list(blocks)}


def response(*items: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of OpenAI's Responses."""
    return {"object": "response", "output": list(items)}


FORM = {"type": "json_schema", "schema": SCHEMA}
ASKED: list[tuple[dict[str, Any], bool | None]] = [
    ({"messages": [{"content": "Hi"}], "response_format": {"type": "json_object"}}, True),
    ({"messages": [{"content": None}], "response_format": {"type": "json_object"}}, True),
    (
        {
            "messages": [{"content": "Hi"}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        },
        False,
    ),
    ({"messages": [{"content": "Hi"}], "guided_json": SCHEMA}, False),
    ({"messages": [{"content": None}], "guided_json": json.dumps(SCHEMA)}, False),
    ({"messages": [{"content": "Hi"}], "structured_outputs": {"json": SCHEMA}}, False),
    ({"messages": [{"content": "Hi"}], "response_format": {"type": "json_schema"}}, True),
    ({"messages": [{"content": "Hi"}], "response_format": {"type": "text"}}, None),
    ({"messages": [{"content": "Hi"}], "response_format": None}, None),
    ({"messages": [{"content": "Hi"}], "guided_json": "{"}, None),
    ({"messages": [{"content": 'Write "json_object".'}]}, None),
    ({"input": "Hi", "text": {"format": FORM}}, False),
]


@pytest.mark.parametrize(("request_", "valid"), ASKED, ids=range(len(ASKED)))
def test_json_is_judged_where_it_was_asked_for(
    request_: dict[str, Any], *, valid: bool | None
) -> None:
    """By whatever words of the protocol and of its servers, with a schema or without."""
    assert signals(request_, chat("{}")).json_valid is valid


@pytest.mark.parametrize("place", [{"output_format": FORM}, {"output_config": {"format": FORM}}])
def test_json_of_messages_is_judged(place: dict[str, Any]) -> None:
    """Anthropic's words for it."""
    facts: dict[str, Any] = {"protocol": "anthropic", "operation": "messages"}
    text = {"type": "text", "text": '{"a": 1}'}
    assert signals(place, message(text), **facts).json_valid is True
    assert signals(place, message({**text, "text": "Well: {}"}), **facts).json_valid is False


def test_a_call_of_a_tool_is_no_json() -> None:
    """Where tools are called in place of an answer, there is nothing to judge."""
    asked = {"messages": [], "response_format": {"type": "json_object"}, "tools": TOOLS}
    call = {"function": {"name": "look", "arguments": "{}"}}
    found = signals(asked, chat(None, tool_calls=[call]), tool_calls=1)
    assert (found.json_valid, found.unknown_tool, found.empty_output) == (None, False, False)


def test_words_and_no_calls_call_nothing_unknown() -> None:
    """An answer without calls calls nothing unknown; where none can be read, that is unknown."""
    assert signals({"messages": []}, chat("Hi")).unknown_tool is False
    assert signals({"messages": []}, chat("Hi"), tool_calls=None).unknown_tool is None
    assert signals({"messages": []}, chat("Hi"), tool_calls=2).unknown_tool is None


def delta(name: str | None) -> dict[str, Any]:
    """Return a chunk of a call."""
    return {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": name}}]}}]}


def item(name: str, kind: str = "function_call") -> dict[str, Any]:
    """Return a call among the output of a response."""
    return {"type": kind, "name": name}


NAMED = {"tools": [{"type": "function", "name": "look"}]}
CALLS: list[tuple[dict[str, Any], Any, bool]] = [
    ({"messages": [], "tools": TOOLS}, [delta("look"), delta(None), delta("")], False),
    ({"messages": [], "tools": TOOLS}, [delta("lock"), delta(None)], True),
    ({"messages": [{"content": "Hi"}], "tools": TOOLS}, [delta("lock")], True),
    ({"messages": [{"content": "Hi"}]}, [delta("look")], True),
    (
        {"messages": [], "functions": [{"name": "look"}]},
        chat(None, function_call={"name": "look"}),
        False,
    ),
    (
        {"messages": [], "tools": [{"type": "custom", "custom": {"name": "look"}}]},
        chat(None, tool_calls=[{"type": "custom", "custom": {"name": "look"}}]),
        False,
    ),
    ({"input": "Hi", **NAMED}, response(item("look"), item("x", "web_search_call")), False),
    ({"input": "Hi", **NAMED}, response(item("lock")), True),
    (
        {"input": "Hi", **NAMED},
        [{"type": "response.output_item.done", "item": item("lock")}],
        True,
    ),
]


@pytest.mark.parametrize(("request_", "answer", "unknown"), CALLS, ids=range(len(CALLS)))
def test_called_tools_are_compared_with_those_lent(
    request_: dict[str, Any], answer: Any, *, unknown: bool
) -> None:
    """Plain and streamed, in chats and responses; tools of the provider's own are no matter."""
    assert signals(request_, answer, tool_calls=1).unknown_tool is unknown


@pytest.mark.parametrize(("name", "unknown"), [("look", False), ("lock", True)])
def test_called_tools_of_messages_are_compared(name: str, *, unknown: bool) -> None:
    """Blocks of a message, or of its events."""
    facts = {"protocol": "anthropic", "operation": "messages", "tool_calls": 1}
    block = {"type": "tool_use", "name": name}
    lent = {"tools": [{"name": "look"}]}
    assert signals(lent, message(block), **facts).unknown_tool is unknown
    events = [{"type": "content_block_start", "content_block": block}]
    assert signals(lent, events, **facts).unknown_tool is unknown


@pytest.mark.parametrize(
    ("answer", "empty"),
    [
        (chat(""), True),
        (chat(" \n"), True),
        (chat(None), True),
        (chat("Hi"), False),
        (chat(None, refusal="I won't."), False),
        (chat(None, audio={"transcript": "Hi"}), False),
        ([{"choices": [{"delta": {}}]}], True),
        ([{"choices": [{"delta": {"refusal": "I won't."}}]}], False),
        (response({"type": "message", "content": [{"refusal": "I won't."}]}), False),
        (response({"type": "message", "content": []}), True),
    ],
    ids=range(10),
)
def test_an_answer_of_nothing_is_empty(answer: Any, *, empty: bool) -> None:
    """Spaces are nothing; a refusal and what is spoken are something."""
    assert signals({"messages": []}, answer).empty_output is empty


@pytest.mark.parametrize(
    "facts",
    [{"operation": "embedding"}, {"finish_reason": None}, {"status": 502}, {"tool_calls": None}],
)
def test_only_answers_of_words_can_be_empty(facts: dict[str, Any]) -> None:
    """Vectors are no words, a failure is no answer, and work in the background is not done."""
    expected = True if "tool_calls" in facts else None
    assert signals({"messages": []}, chat(""), **facts).empty_output is expected


def test_a_loop_in_an_answer_is_told() -> None:
    """The words of the answer are looked at, however they came."""
    stuck = [{"choices": [{"delta": {"content": "again and "}}]}] * 40
    assert signals({"messages": []}, stuck).repeated_output is True
    assert signals({"messages": []}, chat("Fine, thanks.")).repeated_output is False
