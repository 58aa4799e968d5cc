import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.signals.extract import extract, is_error
from monitors.signals.refusal import HINTS, PHRASES, is_refusal
from monitors.signals.table import SIGNALS
from storage.records import Prediction, Signals

PREDICTION = Prediction(
    id="0190b3c4-0000-7000-8000-000000000001",
    started_at=1_700_000_000_000_000,
    route="chat",
    variant="primary",
    upstream="primary",
    model_asked="chat",
    protocol="openai",
    operation="chat",
    tenant="default",
    status=200,
    latency_s=0.5,
    upstream_s=0.4,
    overhead_s=0.1,
)


def changed(**fields: Any) -> Prediction:
    """Return the prediction with other fields."""
    return msgspec.structs.replace(PREDICTION, **fields)


@given(st.one_of([st.from_regex(phrase, fullmatch=True) for phrase in PHRASES]))
def test_a_hint_is_in_every_phrase(found: str) -> None:
    """What is looked for first never hides what the phrases would find."""
    assert any(hint in found for hint in HINTS)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot assist with that request.",
        "As an AI language model, I cannot provide medical advice.",
        "I am not able to help with creating malware.",
        "I must decline this request.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Das kann ich leider nicht beantworten.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas não posso ajudar com isso.",
        "Het spijt me, maar ik kan je daar niet mee helpen.",
        "抱歉,我无法回答这个问题。",
        "申し訳ありませんが、お手伝いできません。",
    ],
)
def test_a_short_no_is_a_refusal(answer: str) -> None:
    """The usual ways of declining are found in several languages."""
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Paris is the capital of France.",
        "I'm sorry to hear that your order is late. Here is what you can do.",
        "You cannot divide by zero; the result is not defined.",
        "I can help with that! First, boil the water.",
        "Not all birds can fly, but most of them do.",
        "Das ist nicht richtig: die Antwort lautet sieben.",
        "",
    ],
)
def test_an_answer_is_no_refusal(answer: str) -> None:
    """Negations and regrets inside an answer are not refusals."""
    assert not is_refusal(answer)


def test_a_long_answer_is_no_refusal() -> None:
    """What goes on for pages does something, whatever it starts with."""
    assert not is_refusal("I'm sorry, but I can't help with that. " + "However, see here. " * 100)


def test_extract_measures_text() -> None:
    """Characters, language and refusal come from the texts, the id from the record."""
    signals = extract("What is the capital of France?", "Paris is the capital of it.", PREDICTION)
    assert signals == Signals(
        id=PREDICTION.id,
        prompt_chars=30,
        response_chars=27,
        language="en",
        refusal=False,
        error=False,
        repeated_output=False,
        answer_language="en",
    )


def test_no_text_is_unknown_not_zero() -> None:
    """A record without bodies leaves text signals empty."""
    assert extract(None, None, PREDICTION) == Signals(id=PREDICTION.id)


def test_an_empty_answer_has_zero_characters() -> None:
    """An answer of no characters is known to be empty."""
    signals = extract("Say nothing, please.", "", PREDICTION)
    assert (signals.response_chars, signals.refusal) == (0, False)


def test_the_prompts_language_goes_before_the_answers() -> None:
    """Who asks is watched; the answer helps where the prompt shows nothing."""
    german = "Bitte antworte auf die Frage nach dem Wetter."
    assert extract(german, "The weather is fine today.", PREDICTION).language == "de"
    assert extract("42?", "The weather is fine today.", PREDICTION).language == "en"
    assert extract(None, german, PREDICTION).language == "de"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"status": 502, "reason": "upstream_unreachable"}, True),
        ({"status": 400}, True),
        ({"status": 200, "reason": "stream_interrupted"}, True),
        ({"status": 200, "reason": "client_closed"}, False),
        ({"status": 499, "reason": "client_closed"}, False),
    ],
)
def test_failed_requests_are_errors(fields: dict[str, Any], *, expected: bool) -> None:
    """A status or a reason makes an error, but for clients that left."""
    assert is_error(changed(**fields)) is expected


def test_every_signal_of_a_record_is_in_the_table() -> None:
    """What `extract` computes is watched, under the same name."""
    names = {signal.name for signal in SIGNALS}
    # Inputs of a model have the model's own names.
    assert set(Signals.__struct_fields__) - {"id", "inputs"} <= names
    assert len(names) == len(SIGNALS)


def test_every_signal_is_in_the_documentation() -> None:
    """A line for each, in the words of the table."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    for signal in SIGNALS:
        assert f"| `{signal.name}` |" in page
        assert f"| {signal.description} | {signal.missing} |" in page


def test_extract_costs_microseconds() -> None:
    """A record with a kilobyte of prompt and answer stays well below a millisecond."""
    prompt = ("Could you explain how this works and why it should not be done? " * 20)[:1000]
    answer = ("Here is how it works: the first part is simple, the rest is not. " * 20)[:1000]
    costs = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(200):
            extract(prompt, answer, PREDICTION)
        costs.append((time.process_time() - start) / 200)
    # Some 50 us on a quiet machine; the bound leaves room for a busy one.
    assert min(costs) < 300e-6


def test_an_answer_in_another_language_is_told_apart() -> None:
    """What was asked in English and answered in German shows both."""
    found = extract(
        "What is the capital of France, and how many people live there?",
        "Die Hauptstadt von Frankreich ist Paris, und dort leben etwa zwei Millionen Menschen.",
        PREDICTION,
    )
    assert (found.language, found.answer_language) == ("en", "de")
