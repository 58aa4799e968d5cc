"""Inputs in the roll-ups: numbers as measures, flags and texts as categories, `input.<name>`.

A row is counted for every feature that its version of the schema has, as unknown where the
request did not tell it.
"""

from collections.abc import Collection, Mapping, Sequence

import duckdb

from storage.features.registry import all_schemas
from storage.features.schema import NUMBER, Field, Schema
from storage.rollups.buckets import bucket_sql
from storage.rollups.statements import (
    CATEGORIES,
    SLOT,
    SLOT_KEYS,
    VALUE_CHARS,
    VALUES,
    Rollup,
    Rows,
    category_rows,
    value_rows,
)

INPUT = "input."
"""What the names of inputs begin with, beside those of signals."""

_KEYS = "route, variant, upstream, model, role"


def count_inputs(
    connection: duckdb.DuckDBPyConnection,
    rollup: Rollup,
    rows: Rows,
    chosen: Mapping[str, object],
    schemas: Sequence[Schema],
) -> None:
    """Count rows of the inputs into a roll-up; those of requests alone have none.

    Parameters
    ----------
    chosen : mapping
        Values of `$low`, `$high` and `$hours`.
    """
    if rollup not in {VALUES, CATEGORIES}:
        return
    for schema in schemas:
        part = _part(rollup, rows, schema, None)
        if part:
            connection.execute(
                f"INSERT INTO {rollup.table} SELECT {rollup.keys}, {rollup.counted}"  # noqa: S608 (names of this folder)
                f" FROM ({part}) GROUP BY {rollup.keys}",
                chosen,
            )


def schemas_with(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> list[Schema]:
    """Return the versions that have any of the inputs named; none where none is one."""
    wanted = _inputs_of(names)
    if not wanted:
        return []
    return [
        schema
        for schema in all_schemas(connection)
        if any(field.name in wanted for field in schema.fields)
    ]


def all_value_rows(rows: Rows, measures: Sequence[str], schemas: Sequence[Schema]) -> str:
    """Return `value_rows` with those of inputs."""
    parts = [_part(VALUES, rows, schema, measures) for schema in schemas]
    return " UNION ALL ".join([value_rows(rows, measures), *filter(None, parts)])


def all_category_rows(rows: Rows, features: Sequence[str], schemas: Sequence[Schema]) -> str:
    """Return `category_rows` with those of inputs."""
    parts = [_part(CATEGORIES, rows, schema, features) for schema in schemas]
    return " UNION ALL ".join([category_rows(rows, features), *filter(None, parts)])


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _inputs_of(names: Collection[str]) -> set[str]:
    return {name.removeprefix(INPUT) for name in names if name.startswith(INPUT)}


def _part(rollup: Rollup, rows: Rows, schema: Schema, names: Collection[str] | None) -> str:
    """Return the rows of one table, "" where it has no field of the kind that is counted."""
    wanted = None if names is None else _inputs_of(names)
    fields = [
        field
        for field in schema.fields
        if (field.kind == NUMBER) == (rollup is VALUES) and (wanted is None or field.name in wanted)
    ]
    if not fields:
        return ""
    return _numbers(rows, schema, fields) if rollup is VALUES else _words(rows, schema, fields)


def _numbers(rows: Rows, schema: Schema, fields: Sequence[Field]) -> str:
    numbers = ", ".join(f"{field.path}::DOUBLE" for field in fields)
    return (
        f"SELECT {SLOT_KEYS}, measure, {bucket_sql('number')} AS bucket FROM ("  # noqa: S608 (names of this folder)
        f"SELECT {SLOT}, {_KEYS}, unnest([{_listed(fields)}]) AS measure,"
        f' unnest([{numbers}]) AS number FROM "{schema.table}" WHERE {rows.where})'
    )


def _words(rows: Rows, schema: Schema, fields: Sequence[Field]) -> str:
    words = ", ".join(f"{field.path}::VARCHAR" for field in fields)
    return (
        f"SELECT {SLOT_KEYS}, feature, left(word, {VALUE_CHARS}) AS value FROM ("  # noqa: S608 (as above)
        f"SELECT {SLOT}, {_KEYS}, unnest([{_listed(fields)}]) AS feature,"
        f' unnest([{words}]) AS word FROM "{schema.table}" WHERE {rows.where})'
    )


def _listed(fields: Sequence[Field]) -> str:
    return ", ".join(quoted(INPUT + field.name) for field in fields)
