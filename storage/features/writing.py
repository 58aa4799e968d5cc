"""The inputs of a batch: schemas that take them, and their rows.

Tables are made before the batch's transaction and the rows are written in it. What fits no schema
is left out of its row and counted as a loss of the record, and never an error.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.features.registry import add_schemas, newest_schemas, taken_names
from storage.features.schema import (
    FLAG,
    MODELS,
    NUMBER,
    TEXT,
    TEXT_CHARS,
    VERSIONS,
    WHOLE,
    Field,
    Schema,
    grown,
    is_name,
    left_out,
    slug_of,
    table_name,
)
from storage.records import End, InputRow, InputValue, Prediction, Signals
from storage.rows import model_of

_STAGED = "batch_inputs"
_LARGEST = (1 << 63) - 1
_KIND_OF: Mapping[type, str] = {int: NUMBER, float: NUMBER, bool: FLAG, str: TEXT}


class ModelRows(NamedTuple):
    """The rows that a batch has of one model; all by the same index.

    Attributes
    ----------
    owners : list of int
        Index in the batch of the record that a row belongs to.
    numbers : list of int
        A row's number within its request.
    """

    owners: list[int]
    numbers: list[int]
    rows: list[InputRow]


class Room(NamedTuple):
    """Where the inputs of a batch go.

    Attributes
    ----------
    schemas : dict of str to Schema
        The newest by model.
    unfit : set of int
        Records of which something is left out.
    """

    schemas: dict[str, Schema]
    unfit: set[int]


def make_room(
    connection: duckdb.DuckDBPyConnection,
    ends: Sequence[End],
    signals: Sequence[Signals],
    now_us: int,
) -> Room:
    """Make the tables that a batch needs, outside of any transaction.

    They stay, whatever becomes of the batch.

    Raises
    ------
    duckdb.Error
    """
    by_model = _by_model(ends, signals)
    if not by_model:
        return Room({}, set())
    schemas = newest_schemas(connection, by_model)
    wanted: list[Schema] = []
    unfit: set[int] = set()
    for model, found in by_model.items():
        types = _types(found.rows)
        schema = schemas.get(model)
        fields = schema.fields if schema is not None else ()
        if left_out(fields, types):
            schema = _next(connection, model, schema, types, wanted)
            if schema is not None:
                wanted.append(schema)
                schemas[model], fields = schema, schema.fields
        unfit |= _with_any(found, left_out(fields, types))
    if wanted:
        add_schemas(connection, wanted, now_us)
        # Definitions left in the write-ahead log are what DuckDB has failed to replay.
        with suppress(duckdb.TransactionException):
            connection.execute("CHECKPOINT")
    return Room(schemas, unfit)


def _with_any(found: ModelRows, lost: Collection[tuple[str, str]]) -> set[int]:
    """Return the records that have a value of any (name, kind)."""
    if not lost:
        return set()
    return {
        owner
        for owner, row in zip(found.owners, found.rows, strict=True)
        if any((name, _KIND_OF.get(type(value), "")) in lost for name, value in row.items())
    }


def insert_inputs(
    connection: duckdb.DuckDBPyConnection,
    ends: Sequence[End],
    signals: Sequence[Signals],
    batch: int,
    schemas: Mapping[str, Schema],
) -> list[Schema]:
    """Append the rows of a batch inside the caller's transaction; return the tables that got some.

    Parameters
    ----------
    batch : int
        Its number.
    schemas : mapping of str to Schema
        From `make_room`; models without one are left out.

    Raises
    ------
    duckdb.Error
    """
    if not schemas:
        return []
    written = []
    for model, found in _by_model(ends, signals).items():
        schema = schemas.get(model)
        if schema is None:
            continue
        arrays = _fact_arrays(found, [ends[owner].prediction for owner in found.owners], batch)
        columns = _columns(found.rows)
        unknown = [None] * len(found.rows)
        places = []
        for number, field in enumerate(schema.fields):
            arrays[f"c{number}"] = _array(columns.get(field.name, unknown), field)
            places.append(f'"{field.field}" := c{number}')
        connection.register(_STAGED, arrays)
        connection.execute(
            f'INSERT INTO "{schema.table}" SELECT prediction_id::UUID, row_no,'  # noqa: S608 (our names)
            " make_timestamp(started_at), route, variant, upstream, model, role, batch,"
            f" struct_pack({', '.join(places)}) FROM {_STAGED}"
        )
        connection.unregister(_STAGED)
        written.append(schema)
    return written


def _by_model(ends: Sequence[End], signals: Sequence[Signals]) -> dict[str, ModelRows]:
    found: dict[str, ModelRows] = {}
    for owner, said in enumerate(signals):
        inputs = said.inputs
        if not inputs:
            continue
        prediction = ends[owner].prediction
        # Where neither side names a model, the route is what its clients know it by.
        model = prediction.model_answered or prediction.model_asked or prediction.route
        of_model = found.get(model)
        if of_model is None:
            of_model = found[model] = ModelRows([], [], [])
        of_model.owners.extend([owner] * len(inputs))
        of_model.numbers.extend(range(len(inputs)))
        of_model.rows.extend(inputs)
    return found


def _next(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    schema: Schema | None,
    types: Mapping[str, set[str]],
    wanted: Sequence[Schema],
) -> Schema | None:
    """Return the version that takes more of what was found, None where there is no room."""
    if schema is not None and schema.version >= VERSIONS:
        return None
    before = schema.fields if schema is not None else ()
    version = 1 if schema is None else schema.version + 1
    fields = grown(before, types, last=version >= VERSIONS)
    if fields == before:
        return None
    if schema is not None:
        return Schema(model, version, table_name(schema.slug, version), fields)
    if not is_name(model):
        return None
    taken = taken_names(connection)
    slugs = {name.removeprefix("inputs_") for name in taken if name.startswith("inputs_")}
    slugs |= {one.slug for one in wanted}
    # Also those of tables whose entry was lost with a file of the archive.
    slugs |= {name[9:].rpartition("_")[0] for name in taken if name.startswith("features_")}
    if len(slugs) >= MODELS:
        return None
    return Schema(model, version, table_name(slug_of(model, slugs), version), fields)


def _columns(rows: Sequence[InputRow]) -> dict[str, Sequence[InputValue]]:
    """Return the values of each feature, features in the order in which they came."""
    if len(set(map(tuple, rows))) == 1:
        # All requests name the same features in the same order: nearly always.
        return dict(zip(rows[0], zip(*map(dict.values, rows), strict=True), strict=True))
    return {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(chain.from_iterable(rows))
    }


def _types(rows: Sequence[InputRow]) -> dict[str, set[str]]:
    """Return the types of each feature's values."""
    found = {}
    for name, values in _columns(rows).items():
        types = set(map(type, values))
        names = {_KIND_OF[one] for one in types if one in _KIND_OF}
        if int in types and float not in types and _fit_64_bits(values, types):
            names = names - {NUMBER} | {WHOLE}
        if names:
            found[name] = names
    return found


def _fit_64_bits(values: Iterable[Any], types: set[type]) -> bool:
    if types != {int}:
        values = [value for value in values if type(value) is int]
    return min(values, default=0) >= -_LARGEST and max(values, default=0) <= _LARGEST


def _fact_arrays(
    found: ModelRows, predictions: Sequence[Prediction], batch: int
) -> dict[str, npt.NDArray[Any]]:
    text = {
        "prediction_id": [one.id for one in predictions],
        "route": [one.route for one in predictions],
        "variant": [one.variant for one in predictions],
        "upstream": [one.upstream for one in predictions],
        "model": [model_of(one) for one in predictions],
        "role": [one.role for one in predictions],
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        name: np.array(values, dtype=object) for name, values in text.items()
    }
    arrays["row_no"] = np.array(found.numbers, dtype=np.int32)
    arrays["started_at"] = np.array([one.started_at for one in predictions], dtype=np.int64)
    arrays["batch"] = np.full(len(predictions), batch, dtype=np.int64)
    return arrays


def _array(values: Sequence[InputValue], field: Field) -> npt.NDArray[Any]:
    """Return the values of a field's kind as a column; the others are unknown."""
    types = set(map(type, values))
    others = types - {one for one, kind in _KIND_OF.items() if kind == field.kind} - {type(None)}
    if others:
        values = [value if type(value) not in others else None for value in values]
    if field.type == TEXT:
        return np.array(_cut(values), dtype=object)
    if field.type == NUMBER:
        numbers = np.array(_floats(values, types), dtype=np.float64)
        return np.ma.masked_array(numbers, mask=~np.isfinite(numbers))
    wanted: type = np.bool_
    if field.type == WHOLE:
        wanted = np.int64
        if float in types or not _fit_64_bits(values, types):
            values = [v if type(v) is int and abs(v) <= _LARGEST else None for v in values]
    if len(types) == 1 and None not in values:
        return np.array(values, dtype=wanted)
    mask = [value is None for value in values]
    known = [0 if value is None else value for value in values]
    return np.ma.masked_array(np.array(known, dtype=wanted), mask=mask)


def _cut(values: Sequence[Any]) -> Sequence[Any]:
    lengths = map(len, filter(None, values))
    if max(lengths, default=0) <= TEXT_CHARS:
        return values
    return [None if value is None else value[:TEXT_CHARS] for value in values]


def _floats(values: Sequence[Any], types: set[type]) -> Sequence[Any]:
    """Return numbers that a float can be; None becomes NaN in an array of them."""
    if int not in types or _fit_64_bits(values, types):
        return values
    most = 2**1023
    return [None if type(v) is int and abs(v) > most else v for v in values]
