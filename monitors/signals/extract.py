"""From one record's text to its row of `features`."""

from monitors.signals.language import language
from monitors.signals.refusal import is_refusal
from router.errors import Reason
from storage.records import Prediction, Signals


def extract(prompt: str | None, answer: str | None, prediction: Prediction) -> Signals:
    """Return everything that one prediction shows.

    Parameters
    ----------
    prompt, answer : str or None
        Text of the last user turn or of the whole prompt, and of the answer; None when it was
        not recorded or there was none.
    prediction : Prediction
        Its facts.
    """
    return Signals(
        id=prediction.id,
        prompt_chars=None if prompt is None else len(prompt),
        response_chars=None if answer is None else len(answer),
        language=_language_of(prompt, answer),
        refusal=None if answer is None else is_refusal(answer),
        error=is_error(prediction),
    )


def is_error(prediction: Prediction) -> bool:
    """Say whether a request failed; a client that left before the end is no failure."""
    if prediction.reason is not None:
        return prediction.reason != Reason.CLIENT_CLOSED
    return prediction.status >= 400


def _language_of(prompt: str | None, answer: str | None) -> str | None:
    # The prompt comes first: a small model answers in its own language, whoever asks.
    found = language(prompt) if prompt else None
    return found if found is not None or not answer else language(answer)
