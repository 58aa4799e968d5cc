"""What is counted over the cells of baselines: signals and inputs, of all rows and by segment.

The cells are those of `stats.cells` and `stats.categories`: `edges` ascending with a value that
equals one going up, then invalid and missing; `top`, other, new, missing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb

from storage.features.counting import INPUT, quoted
from storage.features.registry import all_schemas
from storage.features.schema import NUMBER, Schema
from storage.rollups.statements import (
    CELLS,
    NUMBERS,
    SEGMENT_KEYS,
    SEGMENTS,
    SLOT,
    WORDS,
    Rows,
)

OTHER_VALUES = "(other)"
"""Value of a segment for what its baseline does not tell apart."""

_FEATURES = {**{name: NUMBERS[name] for name in NUMBERS if name != "overhead_s"}, **WORDS}
_CELL = """
    (CASE
        WHEN edges IS NULL THEN CASE
            WHEN word IS NULL THEN len(top) + 2
            WHEN list_contains(top, word) THEN list_position(top, word) - 1
            WHEN list_contains(rest, word) OR NOT complete THEN len(top)
            ELSE len(top) + 1 END
        WHEN number IS NULL OR isnan(number) THEN len(edges) + 2
        WHEN isinf(number) THEN len(edges) + 1
        ELSE len(list_filter(edges, lambda edge: edge <= number)) END)::INTEGER
"""


class Watched(NamedTuple):
    """What is counted of which rows; read from `cell_edges`.

    Attributes
    ----------
    routes : frozenset of str
        Routes with a baseline.
    keys : tuple of str
        Keys of the segments that any of them has.
    inputs : tuple of (Schema, tuple of str, tuple of str)
        Tables of inputs that are counted, the features (`input.<name>`) and the routes whose
        rows are: those that watch any input of the table's model.
    behind : str or None
        A route whose earlier rows are still to be counted.
    """

    routes: frozenset[str]
    keys: tuple[str, ...]
    inputs: tuple[tuple[Schema, tuple[str, ...], tuple[str, ...]], ...]
    behind: str | None = None

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection) -> "Watched":
        """Read what the baselines of now watch."""
        rows = connection.execute(
            "SELECT route, feature, segments, counted_from > wanted_from FROM cell_edges"
        ).fetchall()
        keys = {one.partition("=")[0] for _, _, segments, _ in rows for one in segments or ()}
        names: dict[str, set[str]] = {}
        for route, feature, _, _ in rows:
            if feature.startswith(INPUT):
                names.setdefault(route, set()).add(feature)
        return cls(
            frozenset(route for route, *_ in rows),
            tuple(key for key in SEGMENT_KEYS if key in keys),
            _tables(all_schemas(connection), names) if names else (),
            next((route for route, _, _, behind in rows if behind), None),
        )


def count_cells(
    connection: duckdb.DuckDBPyConnection,
    rows: Rows,
    chosen: Mapping[str, object],
    watched: Watched,
) -> None:
    """Count rows of the facts into both tables of cells, inside the caller's transaction.

    Parameters
    ----------
    chosen : mapping
        Values of `$low`, `$high`, `$hours` and what else `rows` names.
    """
    if not watched.routes:
        return
    if not watched.keys:
        connection.execute(
            f"INSERT INTO {CELLS.table} SELECT {CELLS.keys}, {CELLS.counted}"  # noqa: S608 (names of this folder)
            f" FROM ({cell_rows(rows, watched)}) GROUP BY {CELLS.keys}",
            chosen,
        )
        return
    # Rows find their cells once, and then go into each of their segments.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE counted_cells AS SELECT {CELLS.keys}, segments,"  # noqa: S608 (as above)
        f" count(*) AS n FROM ({_rows(rows, watched, segmented=True)}) GROUP BY ALL",
        chosen,
    )
    connection.execute(
        f"INSERT INTO {CELLS.table} SELECT {CELLS.keys}, {CELLS.sums} FROM counted_cells"  # noqa: S608 (as above)
        f" GROUP BY {CELLS.keys}"
    )
    connection.execute(
        f"INSERT INTO {SEGMENTS.table} SELECT {SEGMENTS.keys}, {SEGMENTS.sums} FROM"  # noqa: S608 (as above)
        " (SELECT * EXCLUDE segments, unnest(segments) AS segment FROM counted_cells)"
        f" GROUP BY {SEGMENTS.keys}"
    )
    connection.execute("DROP TABLE counted_cells")


def cell_rows(rows: Rows, watched: Watched) -> str:
    """Return a row (slot, feature, baseline, cell) for every primary row and feature."""
    return _rows(rows, watched, segmented=False)


def segment_rows(rows: Rows, watched: Watched) -> str:
    """Return the same for every segment of the row, with the segment."""
    return (
        f"SELECT * EXCLUDE segments, unnest(segments) AS segment FROM"  # noqa: S608 (as above)
        f" ({_rows(rows, watched, segmented=True)})"
    )


def _rows(rows: Rows, watched: Watched, *, segmented: bool) -> str:
    keys = watched.keys if segmented else ()
    parts = [_signals(rows, keys), *(_inputs(rows, keys, *table) for table in watched.inputs)]
    segments = "found.segments AS segments, " if segmented else ""
    return f"""
    SELECT "at", grain_s, route, feature, baseline, {segments}{_CELL} AS cell
    FROM ({" UNION ALL ".join(parts)}) AS found
    JOIN cell_edges USING (route, feature)
    WHERE started_at >= counted_from
    """  # noqa: S608 (expressions of this file)


def _signals(rows: Rows, keys: Sequence[str]) -> str:
    numbers = ", ".join(
        f"({expression})::DOUBLE" if name in NUMBERS else "NULL::DOUBLE"
        for name, expression in _FEATURES.items()
    )
    words = ", ".join(
        "NULL::VARCHAR" if name in NUMBERS else expression for name, expression in _FEATURES.items()
    )
    listed, join = _segments(keys)
    return (
        f"SELECT {SLOT}, route, started_at{listed},"  # noqa: S608 (as above)
        f" unnest([{_texts(_FEATURES)}]) AS feature, unnest([{numbers}]) AS number,"
        f" unnest([{words}]) AS word FROM predictions SEMI JOIN cell_edges USING (route) {join}"
        f" WHERE {rows.where} AND role = 'primary'"
    )


def _inputs(
    rows: Rows,
    keys: Sequence[str],
    schema: Schema,
    names: Sequence[str],
    routes: Sequence[str],
) -> str:
    fields = [schema.named(name.removeprefix(INPUT)) for name in names]
    numbers = ", ".join(
        f"{found[NUMBER].path}::DOUBLE" if NUMBER in found else "NULL::DOUBLE" for found in fields
    )
    words = ", ".join(
        f"coalesce({', '.join(f'{field.path}::VARCHAR' for _, field in sorted(found.items()))})"
        if found
        else "NULL::VARCHAR"
        for found in fields
    )
    listed, join = _segments(keys)
    named = "".join(f", {SEGMENT_KEYS[key]} AS key_{key}" for key in keys)
    source = f'SELECT * FROM "{schema.table}" WHERE {rows.where}'  # noqa: S608 (as above)
    if keys:
        source = (
            f"SELECT * FROM ({source}) JOIN (SELECT id AS prediction_id{named} FROM predictions"  # noqa: S608 (as above)
            f" WHERE {rows.facts or rows.where}) USING (prediction_id)"
        )
    for key in keys:
        listed = listed.replace(f"({SEGMENT_KEYS[key]})", f"(key_{key})")
    return (
        f"SELECT {SLOT}, route, started_at{listed}, unnest([{_texts(names)}]) AS feature,"  # noqa: S608 (as above)
        f" unnest([{numbers}]) AS number, unnest([{words}]) AS word FROM ({source}) {join}"
        f" WHERE role = 'primary' AND route IN ({_texts(routes)})"
    )


def _segments(keys: Sequence[str]) -> tuple[str, str]:
    """Return a further column, the segments of a row, and the join that it needs."""
    if not keys:
        return "", ""
    ones = [_named(key, f"({SEGMENT_KEYS[key]})") for key in keys if key != "tag"]
    listed = f"list_filter([{', '.join(ones)}]::VARCHAR[], lambda one: one IS NOT NULL)"
    if "tag" in keys:
        named = f"list_transform(({SEGMENT_KEYS['tag']}), lambda tag: {_named('tag', 'tag')})"
        listed = (
            f"list_concat({listed}, list_filter(list_distinct({named}),"
            " lambda one: one IS NOT NULL))"
        )
    join = (
        "JOIN (SELECT DISTINCT route, coalesce(segments, []) AS told,"
        " list_transform(told, lambda one: split_part(one, '=', 1)) AS keys FROM cell_edges)"
        " USING (route)"
    )
    return f", {listed} AS segments", join


def _named(key: str, value: str) -> str:
    """Return `key=value`, `key=(other)` or NULL: of a route without the key, or unknown."""
    return (
        f"CASE WHEN list_contains(keys, '{key}') AND {value} IS NOT NULL THEN CASE"
        f" WHEN list_contains(told, '{key}=' || {value}) THEN '{key}=' || {value}"
        f" ELSE '{key}={OTHER_VALUES}' END END"
    )


def _tables(
    schemas: Sequence[Schema], names: Mapping[str, set[str]]
) -> tuple[tuple[Schema, tuple[str, ...], tuple[str, ...]], ...]:
    fields: dict[str, set[str]] = {}
    for schema in schemas:
        fields.setdefault(schema.model, set()).update(INPUT + one.name for one in schema.fields)
    found = []
    for schema in schemas:
        routes = [route for route, wanted in names.items() if wanted & fields[schema.model]]
        wanted = {name for route in routes for name in names[route]}
        if routes:
            found.append((schema, tuple(sorted(wanted)), tuple(sorted(routes))))
    return tuple(found)


def _texts(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(map(quoted, names))
