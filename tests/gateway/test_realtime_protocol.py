import json
from typing import Any

import msgspec
import pytest

from gateway.protocols.facts import Facts
from gateway.protocols.openai_realtime import RealtimeEvents
from gateway.protocols.protocol import CONTENT


def noted(*events: Any) -> Facts:
    """Return the facts of a conversation."""
    facts, reader = Facts(), RealtimeEvents()
    for event in events:
        reader.read_data(json.dumps(event).encode(), facts)
    return facts


def done(**response: Any) -> Any:
    """Return the end of an answer."""
    return {"type": "response.done", "response": {"status": "completed", **response}}


def test_tokens_of_all_answers_are_summed() -> None:
    """A conversation used what its answers used together; one without usage changes nothing."""
    usage = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cached_tokens": 4}}
    facts = noted(done(usage=usage), done(), done(usage=usage))
    assert (facts.prompt_tokens, facts.response_tokens, facts.cached_tokens) == (20, 10, 8)


def test_sum_fits_the_record() -> None:
    """A sum beyond the record's columns stays at their largest value; odd counts add nothing."""
    usage = {"input_tokens": 2**31 - 1, "output_tokens": "many"}
    facts = noted(done(usage=usage), done(usage=usage))
    assert (facts.prompt_tokens, facts.response_tokens) == (2**31 - 1, None)


def test_model_is_the_sessions() -> None:
    """The newest session that names a model says which one answers."""
    facts = noted(
        {"type": "session.created", "session": {"model": "old"}},
        {"type": "session.updated", "session": {"model": "new"}},
        {"type": "session.updated", "session": {}},
    )
    assert facts.model_answered == "new"


def test_last_answer_says_how_it_ended() -> None:
    """The finish reason is the last answer's status, or why it is incomplete."""
    cut = done(status="incomplete", status_details={"reason": "max_output_tokens"})
    assert noted(done(), cut).finish_reason == "max_output_tokens"
    assert noted(cut, done()).finish_reason == "completed"


def test_calls_of_functions_are_counted() -> None:
    """Every answer's calls count."""
    output = [{"type": "function_call"}, {"type": "message"}]
    assert noted(done(output=output), done(output=output)).tool_calls == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response.output_text.delta", CONTENT),
        ("response.output_audio.delta", CONTENT),
        ("response.created", 0),
        ("conversation.item.input_audio_transcription.delta", 0),
    ],
)
def test_content_is_the_answers(kind: str, expected: int) -> None:
    """Only pieces of an answer are its content, not what was understood of the question."""
    assert RealtimeEvents().read_data(json.dumps({"type": kind}).encode(), Facts()) == expected


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"type": 7}'])
def test_what_is_no_event_raises(data: bytes) -> None:
    """Whoever reads is told, and goes on."""
    with pytest.raises(msgspec.DecodeError):
        RealtimeEvents().read_data(data, Facts())


def test_responses_over_a_connection_are_summed() -> None:
    """Responses end with other words than realtime's answers, and say their model themselves."""
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    output = [{"type": "reasoning"}, {"type": "custom_tool_call"}, {"type": "message"}]
    said = {"model": "m-1", "usage": usage, "output": output}
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, **said}
    facts = noted(
        {"type": "response.completed", "response": {"status": "completed", **said}},
        {"type": "response.incomplete", "response": cut},
    )
    assert (facts.prompt_tokens, facts.response_tokens, facts.cached_tokens) == (20, 10, 8)
    assert (facts.reasoning_tokens, facts.tool_calls, facts.model_answered) == (6, 2, "m-1")
    assert facts.finish_reason == "max_output_tokens"
