"""What a recorded request asks a predictive model: rows of features, read at ingest.

Known forms: KServe v1 and TensorFlow Serving (`instances`), the Open Inference Protocol
(`inputs` with name, shape, datatype and data), MLflow's `dataframe_split`, `dataframe_records`,
`inputs` and `instances`. Nested values are named by their path, `a.b` and `a.0`; what has no name
is called by its number, and a value alone `value`. Tensors (vectors of vectors) and vectors of more
than 256 numbers, such as images and embeddings, are no features: their elements say nothing alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeGuard

import msgspec

from gateway.protocols.json_text import json_object
from storage.records import End, InputRow, InputValue

ROWS = 1_000
"""Rows that are kept of one request."""
VECTOR = 256
_FIELDS = 1_000
_DEPTH = 4
_ALONE = "value"
GENERATIVE = frozenset({"openai", "anthropic"})
"""Protocols of models that write."""
_MARKS = (b'"instances"', b'"inputs"', b'"dataframe_')
_SCALARS = (int, float, bool, str, type(None))


class _Tabular(msgspec.Struct, gc=False):
    instances: list[InputRow]


# Most requests are of this shape, and nothing of it is then looked at twice.
_TABULAR = msgspec.json.Decoder(_Tabular)


def inputs_of(end: End) -> Sequence[InputRow]:
    """Return the rows that a request asks a model about; none where it was not answered.

    A refused request may name any model and any feature.
    """
    payload, prediction = end.payload, end.prediction
    if payload is None or payload.request_truncated or prediction.protocol in GENERATIVE:
        return ()
    if not 200 <= prediction.status < 300:
        return ()
    return read_inputs(payload.request)


def read_inputs(body: bytes) -> Sequence[InputRow]:
    """Return the rows of a request's body; none where it has another form."""
    if not any(mark in body for mark in _MARKS):
        return ()
    try:
        return _TABULAR.decode(body).instances[:ROWS]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    data = json_object(body)
    if data is None:
        return ()
    return [row for row in islice(_rows(data), ROWS) if row]


def _rows(data: Mapping[str, Any]) -> Iterator[InputRow]:
    for key in ("instances", "dataframe_records", "inputs"):
        found = data.get(key)
        if key == "inputs" and _is_tensors(found):
            return _tensor_rows(found)
        if isinstance(found, list):
            return map(_row, found)
        if isinstance(found, dict):
            return _column_rows(found)
    split = data.get("dataframe_split")
    return _split_rows(split) if isinstance(split, dict) else iter(())


def _row(instance: Any) -> InputRow:
    if isinstance(instance, dict | list):
        return dict(islice(_named("", instance, 0), _FIELDS))
    return {_ALONE: instance} if isinstance(instance, _SCALARS) else {}


def _named(path: str, value: Any, depth: int) -> Iterator[tuple[str, InputValue]]:
    """Yield the scalars of a value with their paths."""
    if isinstance(value, dict) and depth < _DEPTH:
        for key, part in value.items():
            yield from _named(f"{path}.{key}" if path else key, part, depth + 1)
    elif isinstance(value, list):
        if len(value) <= VECTOR and all(isinstance(part, _SCALARS) for part in value):
            for number, part in enumerate(value):
                yield (f"{path}.{number}" if path else str(number)), part
    elif isinstance(value, _SCALARS):
        yield path, value


def _column_rows(columns: Mapping[str, Any]) -> Iterator[InputRow]:
    """Yield the rows of columns that are named; a column of another length is left out."""
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    if not lists:
        yield _row(dict(columns))
        return
    rows = len(next(iter(lists.values())))
    usable = {name: column for name, column in lists.items() if len(column) == rows}
    for values in zip(*usable.values(), strict=True):
        yield _row(dict(zip(usable, values, strict=True)))


def _split_rows(split: Mapping[str, Any]) -> Iterator[InputRow]:
    columns, data = split.get("columns"), split.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        return
    names = [str(name) for name in columns]
    for values in data:
        if isinstance(values, list) and len(values) == len(names):
            yield _row(dict(zip(names, values, strict=True)))


def _is_tensors(found: Any) -> TypeGuard[list[dict[str, Any]]]:
    return (
        isinstance(found, list)
        and bool(found)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and isinstance(one.get("shape"), list)
            and "datatype" in one
            for one in found
        )
    )


def _tensor_rows(tensors: Sequence[Mapping[str, Any]]) -> Iterator[InputRow]:
    """Yield the rows of tensors whose first dimension is the batch."""
    columns: dict[str, list[Any]] = {}
    for tensor in tensors[:_FIELDS]:
        columns |= _tensor_columns(tensor)
    if columns:
        yield from _column_rows(columns)


def _tensor_columns(tensor: Mapping[str, Any]) -> dict[str, list[Any]]:
    name, shape, data = tensor["name"], tensor["shape"], tensor.get("data")
    if not isinstance(data, list) or len(shape) not in {1, 2}:
        return {}
    if not all(type(size) is int and size > 0 for size in shape):
        return {}
    rows, width = shape[0], shape[1] if len(shape) == 2 else 1
    if len(shape) == 2 and data and all(isinstance(row, list) for row in data):
        data = [value for row in data for value in row]
    if width > VECTOR or len(data) != rows * width:
        return {}
    typed = _typed(str(tensor["datatype"]), data)
    if width == 1:
        return {name: typed}
    return {f"{name}.{number}": typed[number::width] for number in range(width)}


def _typed(datatype: str, data: list[Any]) -> list[Any]:
    """Return values of the type that is declared: JSON may write 1 for 1.0 and for true."""
    if datatype.startswith(("FP", "BF")):
        return [float(v) if type(v) is int and abs(v) < 1 << 64 else v for v in data]
    if datatype == "BOOL":
        return [bool(v) if type(v) is int and v in {0, 1} else v for v in data]
    return data
