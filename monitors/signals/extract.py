"""From one record's text to its row of `features`."""

from typing import NamedTuple

from monitors.signals.json_form import Schema, is_valid
from monitors.signals.language import language
from monitors.signals.refusal import is_refusal
from monitors.signals.repetition import is_repeated
from router.errors import Reason
from storage.records import Prediction, Signals

_GENERATIVE = frozenset({"chat", "completion", "response", "messages"})
"""Operations whose answers are words or calls of tools."""


class Answered(NamedTuple):
    """What is known of a whole, good answer that was recorded.

    Attributes
    ----------
    schema : dict, bool or None
        JSON Schema that the request set for it, `True` for any JSON; None for any text.
    unknown_tool : bool or None
        It calls a tool that the request did not lend; None cannot be told.
    """

    schema: Schema | None = None
    unknown_tool: bool | None = None


def extract(
    prompt: str | None,
    answer: str | None,
    prediction: Prediction,
    answered: Answered | None = None,
) -> Signals:
    """Return everything that one prediction shows.

    Parameters
    ----------
    prompt, answer : str or None
        Text of the last user turn or of the whole prompt, and of the answer; None when it was
        not recorded or there was none.
    prediction : Prediction
        Its facts.
    answered : Answered or None
        None where the request failed, or its answer was not recorded whole.
    """
    schema = None if answered is None else answered.schema
    spoken = language(answer) if answer else None
    return Signals(
        id=prediction.id,
        prompt_chars=None if prompt is None else len(prompt),
        response_chars=None if answer is None else len(answer),
        # The prompt comes first: a small model answers in its own language, whoever asks.
        language=(language(prompt) if prompt else None) or spoken,
        refusal=None if answer is None else is_refusal(answer),
        error=is_error(prediction),
        unknown_tool=None if answered is None else answered.unknown_tool,
        json_valid=None if schema is None or answer is None else is_valid(answer, schema),
        empty_output=None if answered is None else _is_empty(answer, prediction),
        repeated_output=None if answer is None else is_repeated(answer),
        answer_language=spoken,
    )


def _is_empty(answer: str | None, prediction: Prediction) -> bool | None:
    # An answer that gives no reason for its end is one that goes on in the background.
    if prediction.operation not in _GENERATIVE or prediction.finish_reason is None:
        return None
    return not (prediction.tool_calls or (answer and not answer.isspace()))


def is_error(prediction: Prediction) -> bool:
    """Say whether a request failed; a client that left before the end is no failure."""
    if prediction.reason is not None:
        return prediction.reason != Reason.CLIENT_CLOSED
    return prediction.status >= 400
