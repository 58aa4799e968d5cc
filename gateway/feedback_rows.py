"""One piece of feedback as it is told: its fields and their bounds, wherever it comes from."""

import math
from uuid import UUID

import msgspec

from storage.records import Feedback

MAX_LABEL_CHARS = 256
MAX_COMMENT_CHARS = 4096
_WHOLE = 1e15
"""Whole numbers below it are written without a point: pandas has 1.0 for 1 beside a gap."""


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prediction's id, and at least one of score, label and comment."""

    id: str
    score: float | None = None
    label: str | None = None
    comment: str | None = None


class FeedbackTaken(msgspec.Struct, frozen=True):
    """What became of feedback that was written straight into the log.

    Attributes
    ----------
    rows : int
        Written; all that was ever said of a prediction is kept, the newest counts.
    unknown : int
        Of them, those whose prediction is not in the log, or not yet: they count once it is.
    forgotten : int
        Not written, because their prediction was forgotten on purpose.
    """

    rows: int
    unknown: int
    forgotten: int


class FeedbackInvalid(ValueError):
    """A piece of feedback that is refused.

    Attributes
    ----------
    param : str
        The field that is wrong.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def checked(found: FeedbackBody) -> FeedbackBody:
    """Return feedback with its id in its usual form.

    Raises
    ------
    FeedbackInvalid
    """
    if found.score is None and found.label is None and found.comment is None:
        raise FeedbackInvalid(
            "Feedback needs at least one of `score`, `label` and `comment`.", "score"
        )
    if found.score is not None and not math.isfinite(found.score):
        raise FeedbackInvalid(f"`score` is `{found.score}`; it must be a number.", "score")
    for name, text, limit in (
        ("label", found.label, MAX_LABEL_CHARS),
        ("comment", found.comment, MAX_COMMENT_CHARS),
    ):
        if text is not None and len(text) > limit:
            raise FeedbackInvalid(f"`{name}` is longer than {limit} characters.", name)
    return msgspec.structs.replace(found, id=_plain_id(found.id))


def word_of(label: str | float | bool | None) -> str | None:  # noqa: FBT001 (a label that is one)
    """Return a label as the word that is kept: a number or a flag is written as in JSON.

    Raises
    ------
    FeedbackInvalid
        It is no finite number.
    """
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, float) and not math.isfinite(label):
        raise FeedbackInvalid(f"`label` is `{label}`; it must be a word or a number.", "label")
    whole = isinstance(label, float) and label.is_integer() and abs(label) < _WHOLE
    return msgspec.json.encode(int(label) if whole else label).decode()


def record_of(found: FeedbackBody, tenant: str, given_at: int) -> Feedback:
    """Return the record of checked feedback."""
    return Feedback(
        prediction_id=found.id,
        given_at=given_at,
        tenant=tenant,
        score=found.score,
        label=found.label,
        comment=found.comment,
    )


def _plain_id(text: str) -> str:
    try:
        plain = str(UUID(text))
    except ValueError:
        plain = ""
    # Only the forms with and without hyphens; UUID() also reads braces and `urn:uuid:`.
    if not plain or text.lower() not in {plain, plain.replace("-", "")}:
        raise FeedbackInvalid(
            f"`id` is `{text[:64]}`; it must be the `x-driftgate-id` of an answer", "id"
        )
    return plain
