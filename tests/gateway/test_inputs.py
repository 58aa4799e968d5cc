import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.fake_answers import whole
from support.fake_upstream import FakeUpstream
from support.log_records import end_of
from support.worker import RunningWorker

from gateway.enrich import enrich
from gateway.inputs import ROWS, VECTOR, read_inputs
from storage.records import End, Payload

TENSORS: list[dict[str, Any]] = [
    {"name": "age", "shape": [2], "datatype": "INT64", "data": [30, 41]},
    {"name": "score", "shape": [2, 1], "datatype": "FP32", "data": [[1], [2]]},
    {"name": "plan", "shape": [2], "datatype": "BYTES", "data": ["basic", "pro"]},
    {"name": "active", "shape": [2], "datatype": "BOOL", "data": [1, 0]},
    {"name": "xy", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2.5, 3.5, 4.5]},
    {"name": "image", "shape": [2, 2, 2], "datatype": "FP32", "data": [0] * 8},
    {"name": "torn", "shape": [2], "datatype": "FP32", "data": [1]},
]
CASES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "kserve": (
        {"instances": [{"age": 30, "plan": "pro"}, {"age": 1.5}]},
        [{"age": 30, "plan": "pro"}, {"age": 1.5}],
    ),
    "unnamed": (
        {"instances": [[5.1, 3.5], [4, None]]},
        [{"0": 5.1, "1": 3.5}, {"0": 4, "1": None}],
    ),
    "alone": ({"instances": [1.0, "a"]}, [{"value": 1.0}, {"value": "a"}]),
    "nested": (
        {"instances": [{"user": {"age": 30, "xy": [1, 2]}, "matrix": [[1], [2]]}]},
        [{"user.age": 30, "user.xy.0": 1, "user.xy.1": 2}],
    ),
    "open inference": (
        {"id": "7", "inputs": TENSORS},
        [
            {"age": 30, "score": 1.0, "plan": "basic", "active": True, "xy.0": 1.5, "xy.1": 2.5},
            {"age": 41, "score": 2.0, "plan": "pro", "active": False, "xy.0": 3.5, "xy.1": 4.5},
        ],
    ),
    "split": (
        {"dataframe_split": {"columns": ["a", 2], "index": [0, 1], "data": [[1, "x"], [2, None]]}},
        [{"a": 1, "2": "x"}, {"a": 2, "2": None}],
    ),
    "records": ({"dataframe_records": [{"a": 1}, {"a": 2}]}, [{"a": 1}, {"a": 2}]),
    "columns": (
        {"inputs": {"a": [1, 2], "b": ["x", "y"]}},
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    ),
    "one row": ({"inputs": {"a": 1, "b": "x"}}, [{"a": 1, "b": "x"}]),
}


@pytest.mark.parametrize("name", CASES)
def test_forms_are_read(name: str) -> None:
    """Every form gives the same kind of rows, with the types that it declares."""
    body, expected = CASES[name]
    rows = list(read_inputs(json.dumps(body).encode()))
    assert rows == expected
    assert [[type(v) for v in row.values()] for row in rows] == [
        [type(v) for v in row.values()] for row in expected
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"instances": 3}',
        b'{"inputs": "a prompt"}',
        b'{"inputs": {"a": [[[1]], [[2]]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2], 3]}}',
        b'{"dataframe_split": [1]}',
        b'{"inputs": [{"name": "a", "shape": [2.5], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "a", "shape": [-1, -1], "datatype": "FP32", "data": [1]}]}',
        b'{"instances": [{"a": "\\ud800"}]}',
        b'{"instances": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"messages": [{"content": "\\"instances\\""}]}',
    ],
)
def test_other_bodies_have_no_inputs(body: bytes) -> None:
    """Nothing that is sent can raise or invent a feature."""
    assert list(read_inputs(body)) == []


def test_rows_and_vectors_are_bounded() -> None:
    """The first rows of a large request are kept; an embedding is no set of features."""
    many = json.dumps({"instances": [{"a": n} for n in range(ROWS + 5)]}).encode()
    assert len(read_inputs(many)) == ROWS
    long = json.dumps({"instances": [{"e": [0.5] * (VECTOR + 1), "a": 1}]}).encode()
    assert list(read_inputs(long)) == [{"a": 1}]


def inputs(protocol: str = "other", *, truncated: bool = False, **facts: Any) -> list[Any]:
    """Return what enrichment finds in one record."""
    one = end_of(1, protocol=protocol, **facts)
    payload = Payload(b'{"instances": [{"a": 1}]}', b'{"predictions": [1]}', truncated)
    (found,) = enrich([End(one.prediction, one.attempts, payload)])
    return list(found.inputs)


def test_inputs_are_those_of_answered_requests() -> None:
    """A refused request may name anything, a cut body is not what was asked, a chat has none."""
    assert inputs() == [{"a": 1}]
    assert inputs(status=404) == inputs(status=502) == []
    assert inputs(truncated=True) == []
    assert inputs("openai") == []


@pytest.mark.parametrize("path", ["predict", "models/churn:predict", "models/churn/infer"])
def test_a_request_through_the_gateway_has_inputs(
    tmp_path: Path, a: FakeUpstream, path: str
) -> None:
    """What a client sends to a model's path, or to one that no protocol claims, is recorded."""
    a.script(lambda _: [whole(200, b'{"predictions": [1]}')])
    split = "{split: {a: 1.0}}"
    config = f'upstreams:\n  a: {{url: "{a.url}"}}\nroutes:\n  "*": {split}\n  churn: {split}\n'
    named = "churn" if path == "predict" else "elsewhere"
    body = {"model": named, "instances": [{"age": 30}]}
    with RunningWorker(tmp_path, config) as worker:
        httpx2.post(f"{worker.url}/v1/{path}", json=body, timeout=20).raise_for_status()
        worker.stop()
        (record,) = worker.records()
        (found,) = enrich([record])
    assert list(found.inputs) == [{"age": 30}]
    assert (record.prediction.route, a.requests[0].target.endswith(path)) == ("churn", True)
