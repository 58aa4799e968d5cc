"""When what models are asked with has changed: versions of their schemas by time."""

from typing import NamedTuple

import duckdb

from storage.features.schema import Field
from storage.reader import Window
from storage.times import from_timestamp


class SchemaChange(NamedTuple):
    """A version of a model's schema that began in a window.

    Attributes
    ----------
    at_us, first_at_us : int
        Microseconds since the epoch: when it began, and the model's first version did.
    routes : tuple of str
        Whose requests are in its table.
    added : tuple of Field
        What the version before had not: new names, names of another kind, wider numbers.
    before : frozenset of tuple of str
        (name, kind) that the version before had.
    """

    model: str
    version: int
    at_us: int
    first_at_us: int
    routes: tuple[str, ...]
    added: tuple[Field, ...]
    before: frozenset[tuple[str, str]]


def schema_changes(connection: duckdb.DuckDBPyConnection, window: Window) -> list[SchemaChange]:
    """Return the versions but the first that began in a window, by model and version."""
    rows = connection.execute(
        "SELECT model, version, table_name, fields, created_at FROM feature_schemas"
        " ORDER BY model, version"
    ).fetchall()
    found: list[SchemaChange] = []
    fields: dict[str, tuple[Field, ...]] = {}
    first: dict[str, int] = {}
    for model, version, table, listed, created_at in rows:
        at_us = from_timestamp(created_at)
        now = tuple(Field(one["name"], one["type"], one["field"]) for one in listed)
        before = fields.get(model)
        fields[model] = now
        first.setdefault(model, at_us)
        if before is None or not window.from_us <= at_us < window.to_us:
            continue
        routes = connection.execute(f'SELECT DISTINCT route FROM "{table}" ORDER BY route')  # noqa: S608 (our names)
        found.append(
            SchemaChange(
                model,
                version,
                at_us,
                first[model],
                tuple(route for (route,) in routes.fetchall()),
                tuple(field for field in now if field not in before),
                frozenset((field.name, field.kind) for field in before),
            )
        )
    return found
