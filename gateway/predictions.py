"""What a predictive model answered, read off the recorded answer at ingest.

Known forms: `predictions` of KServe v1, TensorFlow Serving and MLflow, and `outputs` of the Open
Inference Protocol. Of an answer about several rows the first one counts. A vector of probabilities
gives the number of its class and the class's probability; an object may name both.
"""

from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import Any, NamedTuple, TypeGuard

from gateway.inputs import GENERATIVE
from gateway.protocols.json_text import first_of, json_object, object_of
from storage.records import End

CLASSES = 10_000
"""Longer vectors are no probabilities of classes."""
VALUE_CHARS = 256
"""A longer text is no class."""

_CLASS_NAMES = ("class", "label", "predicted_class", "predicted_label", "prediction", "value")
_CONFIDENCE_NAMES = ("confidence", "probability", "score")
_TOTAL_WITHIN = 1e-3


class Predicted(NamedTuple):
    """A class or a number as text, and the class's probability, in 0..1; None is not told."""

    prediction: str | None = None
    confidence: float | None = None


NOTHING = Predicted()


def predicted_of(end: End) -> Predicted:
    """Return what a record's answer says, nothing where no predictive model answered."""
    payload, prediction = end.payload, end.prediction
    if payload is None or payload.response_truncated or prediction.protocol in GENERATIVE:
        return NOTHING
    if not 200 <= prediction.status < 300 or prediction.reason is not None:
        return NOTHING
    return read_prediction(payload.response)


def read_prediction(body: bytes) -> Predicted:
    """Return what an answer's body says, nothing where it has another form."""
    if b'"predictions"' not in body and b'"outputs"' not in body:
        return NOTHING
    data = json_object(body) or {}
    if "predictions" in data:
        return _of_predictions(data["predictions"])
    outputs = data.get("outputs")
    if isinstance(outputs, list) and first_of(outputs).get("name") is not None:
        return _of_tensors([object_of(output) for output in outputs])
    return _of_predictions(outputs)


def _of_predictions(found: Any) -> Predicted:
    if isinstance(found, dict):
        # Named outputs, each with a value for every row.
        return _of_value({name: column[0] for name, column in found.items() if _is_full(column)})
    return _of_value(found[0]) if _is_full(found) else NOTHING


def _of_tensors(outputs: Sequence[Mapping[str, Any]]) -> Predicted:
    """Return what the first tensor says; a second one beside a class may be its probabilities."""
    rows = {str(output.get("name")): _first_row(output) for output in outputs}
    if len(rows) == 1:
        return _of_value(next(iter(rows.values())))
    found = [_of_value(rows), *map(_of_value, rows.values())]
    alone = next((one for one in found if one.prediction and one.confidence is None), None)
    sure = next((one for one in found if one.confidence is not None), NOTHING)
    return sure if alone is None else Predicted(alone.prediction, sure.confidence)


def _first_row(output: Mapping[str, Any]) -> Any:
    """Return the first row of a tensor: a value alone, or a vector."""
    shape, data = output.get("shape"), output.get("data")
    if not isinstance(shape, list) or not _is_full(data):
        return None
    if isinstance(data[0], list) or len(shape) == 1:
        return data[0]
    width = shape[1] if len(shape) == 2 else None
    if type(width) is not int or not 0 < width <= len(data):
        return None
    return data[0] if width == 1 else data[:width]


def _of_value(value: Any) -> Predicted:
    if isinstance(value, list):
        return _of_value(value[0]) if len(value) == 1 else _of_probabilities(value)
    if isinstance(value, dict):
        found = next((value[name] for name in _CLASS_NAMES if name in value), None)
        told = next((value[name] for name in _CONFIDENCE_NAMES if name in value), None)
        sure = _of_value(found)
        share = _share(told)
        return Predicted(sure.prediction, sure.confidence if share is None else share)
    return Predicted(_text(value))


def _of_probabilities(values: list[Any]) -> Predicted:
    if not 2 <= len(values) <= CLASSES or not all(type(v) in {int, float} for v in values):
        return NOTHING
    most = max(values)
    if min(values) < 0 or not isclose(sum(values), 1.0, abs_tol=_TOTAL_WITHIN):
        return NOTHING
    return Predicted(str(values.index(most)), float(most))


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value) if isfinite(value) else None
    return value if isinstance(value, str) and 0 < len(value) <= VALUE_CHARS else None


def _share(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 1:
        return _share(value[0])
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 <= value <= 1 else None


def _is_full(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value)
