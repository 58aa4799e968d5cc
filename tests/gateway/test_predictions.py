import json
from typing import Any

import pytest
from support.log_records import end_of

from gateway.enrich import enrich
from gateway.predictions import NOTHING, Predicted, read_prediction
from storage.records import End, Payload


def tensor(name: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    """Return an output of the Open Inference Protocol."""
    return {"name": name, "shape": shape, "datatype": "FP32", "data": data}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"predictions": [0.25, 7.0]}, ("0.25", None)),
        ({"predictions": ["spam"]}, ("spam", None)),
        ({"predictions": [True]}, ("true", None)),
        ({"predictions": [[3.5]]}, ("3.5", None)),
        ({"predictions": [[0.1, 0.7, 0.2]]}, ("1", 0.7)),
        ({"predictions": [{"label": "ham", "score": 0.9}]}, ("ham", 0.9)),
        ({"predictions": [{"class": 2, "probability": [0.5]}]}, ("2", 0.5)),
        ({"predictions": {"label": ["a", "b"], "score": [0.25, 1]}}, ("a", 0.25)),
        ({"outputs": [tensor("y", [2], [4.5, 1])]}, ("4.5", None)),
        ({"outputs": [tensor("y", [2, 1], [4.5, 1])]}, ("4.5", None)),
        ({"outputs": [tensor("y", [2, 2], [0.75, 0.25, 0, 1])]}, ("0", 0.75)),
        ({"outputs": [tensor("y", [1, 2], [[0.25, 0.75]])]}, ("1", 0.75)),
        (
            {"outputs": [tensor("label", [1], ["b"]), tensor("p", [1, 2], [0.25, 0.75])]},
            ("b", 0.75),
        ),
        ({"outputs": [[0.5, 0.5]]}, ("0", 0.5)),
    ],
    ids=range(14),
)
def test_the_first_rows_prediction_is_read(
    body: dict[str, Any], found: tuple[str, float | None]
) -> None:
    """Classes, numbers and probabilities, in the forms of the known servers."""
    assert read_prediction(json.dumps(body).encode()) == Predicted(*found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"predictions": [',
        b'{"predictions": []}',
        b'{"predictions": {}}',
        b'{"predictions": [null]}',
        b'{"predictions": [[0.5, 3.5]]}',
        b'{"predictions": [[[1, 2], [3, 4]]]}',
        b'{"predictions": [""]}',
        b'["predictions"]',
        b'{"outputs": [{"name": "y", "shape": [1, 0], "data": [1]}]}',
        b'{"outputs": [{"name": "y", "shape": 3, "data": [1]}]}',
        b'{"outputs": 5}',
    ],
)
def test_another_form_is_no_prediction(body: bytes) -> None:
    """What cannot be read as one class or number is unknown, and stops nothing."""
    assert read_prediction(body) == NOTHING


def test_only_answers_of_predictive_models_are_read() -> None:
    """A model that writes may write such JSON; an answer that failed or was cut says nothing."""
    body = Payload(b"{}", b'{"predictions": [{"label": "ham", "score": 0.5}]}')

    def told(payload: Payload, **facts: Any) -> tuple[str | None, float | None]:
        (found,) = enrich([End(end_of(1, **facts).prediction, (), payload)])
        return found.prediction, found.confidence

    assert told(body, protocol="other") == ("ham", 0.5)
    assert told(body, protocol="openai") == (None, None)
    assert told(body, protocol="other", status=500) == (None, None)
    cut = Payload(body.request, body.response, response_truncated=True)
    assert told(cut, protocol="other") == (None, None)
