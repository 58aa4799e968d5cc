"""Inputs as columns, over all models and versions of a route that have them."""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from storage.features.counting import INPUT
from storage.features.registry import all_schemas
from storage.features.schema import NUMBER, Schema

_NO_COLUMN = {True: "NULL::DOUBLE", False: "NULL::VARCHAR"}


class InputRows(NamedTuple):
    """The rows of inputs as a SELECT, to be joined to the predictions that they belong to.

    Attributes
    ----------
    query : str
        Columns `prediction_id`, `row_no` and `input_0` onwards, one for each name. Unless other
        rows are asked for, `$1` and `$2` are the window and `$3` the route.
    numeric : dict of str to bool
        Whether a name's column is of numbers, else it is of text; in order of the names.
    """

    query: str
    numeric: dict[str, bool]


_WINDOW = "started_at >= $1 AND started_at < $2 AND route = $3"


def known_inputs(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    """Return those of some names (`input.<name>`) that a model was ever asked with, in order."""
    known = {INPUT + field.name for schema in all_schemas(connection) for field in schema.fields}
    return [name for name in dict.fromkeys(names) if name in known]


def input_rows(
    connection: duckdb.DuckDBPyConnection,
    names: Sequence[str],
    where: str = _WINDOW,
    more: Sequence[str] = (),
) -> InputRows:
    """Return the rows of every model that has one of some inputs (`input.<name>`).

    A feature that was ever a number is read as a number: what of it was text or a flag is unknown.

    Parameters
    ----------
    where : str
        A condition over the rows of inputs, as SQL.
    more : sequence of str
        Further columns of theirs.

    Raises
    ------
    KeyError
        No model has an input of a name.
    """
    schemas = all_schemas(connection)
    numeric = {}
    for name in names:
        kinds = {kind for schema in schemas for kind in schema.named(name.removeprefix(INPUT))}
        if not kinds:
            raise KeyError(f"`{name}` is no feature: no model was asked with such an input")
        numeric[name] = NUMBER in kinds
    wanted = {name.removeprefix(INPUT) for name in names}
    models = {
        schema.model for schema in schemas if any(one.name in wanted for one in schema.fields)
    }
    kept = ", ".join(("prediction_id", "row_no", *more))
    parts = [
        f'SELECT {kept}{_columns(schema, numeric)} FROM "{schema.table}" WHERE {where}'  # noqa: S608 (our names)
        for schema in schemas
        if schema.model in models
    ]
    return InputRows(" UNION ALL ".join(parts), numeric)


def _columns(schema: Schema, numeric: dict[str, bool]) -> str:
    return "".join(
        f", {_column(schema, name, is_number)} AS input_{number}"
        for number, (name, is_number) in enumerate(numeric.items())
    )


def _column(schema: Schema, name: str, is_number: bool) -> str:  # noqa: FBT001
    fields = schema.named(name.removeprefix(INPUT))
    if is_number:
        return f"{fields[NUMBER].path}::DOUBLE" if NUMBER in fields else _NO_COLUMN[True]
    paths = [f"{field.path}::VARCHAR" for _, field in sorted(fields.items())]
    return f"coalesce({', '.join(paths)})" if paths else _NO_COLUMN[False]
