"""A batch as columns: numpy arrays by column name, written by one statement a table.

DuckDB reads a dictionary of arrays as a table, which costs half of handing it rows. Text is an
object array with None for unknown, a number that may be unknown a masked array.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from storage.records import Attempt, End, Feedback, Prediction, Signals
from storage.rows import Place
from storage.times import to_timestamp

Arrays = dict[str, npt.NDArray[Any]]
Values = Sequence[Any]

_INTEGERS = frozenset({
    "started_at", "given_at", "status", "attempts", "attempt_no", "request_bytes",
    "response_bytes", "batch",
})  # fmt: skip
_INTEGERS_OR_NONE = frozenset({
    "prompt_tokens", "response_tokens", "cached_tokens", "reasoning_tokens", "tool_calls",
    "prompt_chars", "response_chars", "segment", "byte_offset",
})  # fmt: skip
_NUMBERS = frozenset({"latency_s", "upstream_s", "overhead_s"})
_NUMBERS_OR_NONE = frozenset({
    "cost_usd", "ttft_s", "time_per_output_token_s", "confidence", "score",
})  # fmt: skip
_FLAGS = frozenset({"stream", "truncated", "has_payload"})
_FLAGS_OR_NONE = ("refusal", "unknown_tool", "json_valid", "empty_output", "repeated_output")
_EXPRESSIONS: Mapping[str, str] = {
    "id": "id::UUID",
    "pair_id": "pair_id::UUID",
    "prediction_id": "prediction_id::UUID",
    "started_at": "make_timestamp(started_at)",
    "given_at": "make_timestamp(given_at)",
    "tags": """from_json(tags, '["VARCHAR"]')""",
}
_TIMES = ("started_at", "given_at")
_STAGED = "batch_columns"


def prediction_arrays(
    ends: Sequence[End], signals: Sequence[Signals], places: Sequence[Place], batch: int
) -> Arrays:
    """Return the columns of `predictions`.

    Raises
    ------
    OverflowError
        A number or a time fits no column.
    """
    columns = _transposed(Prediction, [end.prediction for end in ends])
    columns["tags"] = [msgspec.json.encode(tags).decode() for tags in columns["tags"]]
    columns["prompt_chars"] = [signal.prompt_chars for signal in signals]
    columns["response_chars"] = [signal.response_chars for signal in signals]
    for name in ("language", "answer_language", *_FLAGS_OR_NONE):
        columns[name] = list(map(attrgetter(name), signals))
    for name in ("prediction", "confidence"):
        # What the record says itself goes before what was read off the answer.
        read = map(attrgetter(name), signals)
        columns[name] = [b if a is None else a for a, b in zip(columns[name], read, strict=True)]
    columns["source"], columns["segment"], columns["byte_offset"] = zip(*places, strict=True)
    columns["has_payload"] = [end.payload is not None for end in ends]
    return _arrays(columns, batch)


def attempt_arrays(ends: Sequence[End], batch: int) -> Arrays:
    """Return the columns of `attempts`, none if nothing was tried; raises as above."""
    tried = [attempt for end in ends for attempt in end.attempts]
    if not tried:
        return {}
    columns = _transposed(Attempt, tried)
    # Of an attempt alone the status is unknown where no answer came.
    asked = [end.prediction for end in ends for _ in end.attempts]
    columns["prediction_id"] = [prediction.id for prediction in asked]
    columns["role"] = [prediction.role for prediction in asked]
    columns["route"] = [prediction.route for prediction in asked]
    return _arrays(columns, batch, or_none=frozenset({"status"}))


def feedback_arrays(feedback: Sequence[Feedback], batch: int) -> Arrays:
    """Return the columns of `feedback`; raises as above."""
    return _arrays(_transposed(Feedback, feedback), batch) if feedback else {}


def insert(connection: duckdb.DuckDBPyConnection, table: str, arrays: Arrays) -> None:
    """Append columns to a table, inside the caller's transaction.

    Raises
    ------
    duckdb.Error
        `duckdb.DataError` if a value fits no column.
    """
    if not arrays:
        return
    names = ", ".join(arrays)
    values = ", ".join(_EXPRESSIONS.get(name, name) for name in arrays)
    # A variable that DuckDB finds by its name needs `enable_external_access`; a view does not.
    connection.register(_STAGED, arrays)
    connection.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {_STAGED}")  # noqa: S608 (names of records)
    connection.unregister(_STAGED)


def _transposed(noun: type, records: Sequence[Any]) -> dict[str, Values]:
    names = noun.__struct_fields__  # type: ignore[attr-defined]
    return dict(zip(names, zip(*map(astuple, records), strict=True), strict=True))


def _arrays(
    columns: Mapping[str, Values], batch: int, *, or_none: frozenset[str] = frozenset()
) -> Arrays:
    for name in _TIMES:
        if name in columns:
            # What DuckDB could keep and Python could not read must not come in.
            to_timestamp(min(columns[name]))
            to_timestamp(max(columns[name]))
    arrays = {name: _array(name, values, name in or_none) for name, values in columns.items()}
    rows = len(next(iter(columns.values())))
    arrays["batch"] = np.full(rows, batch, dtype=np.int64)
    return arrays


def _array(name: str, values: Values, or_none: bool) -> npt.NDArray[Any]:  # noqa: FBT001
    if name in _INTEGERS and not or_none:
        return np.array(values, dtype=np.int64)
    if name in _INTEGERS or name in _INTEGERS_OR_NONE:
        return _masked(values, np.int64)
    if name in _NUMBERS:
        # DuckDB takes NaN in an array for NULL; a duration that nobody knows is 0.
        known = np.array(values, dtype=np.float64)
        return np.nan_to_num(known, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if name in _NUMBERS_OR_NONE:
        found = np.array(values, dtype=np.float64)  # None becomes NaN.
        return np.ma.masked_array(found, mask=~np.isfinite(found))
    if name in _FLAGS:
        return np.array(values, dtype=np.bool_)
    return _masked(values, np.bool_) if name in _FLAGS_OR_NONE else np.array(values, dtype=object)


def _masked(values: Values, dtype: type) -> npt.NDArray[Any]:
    mask = [value is None for value in values]
    known = [0 if value is None else value for value in values] if any(mask) else values
    return np.ma.masked_array(np.array(known, dtype=dtype), mask=mask)
