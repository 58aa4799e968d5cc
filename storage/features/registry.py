"""Which model has which tables: `feature_schemas`, and the tables and views that it names."""

from collections.abc import Collection, Sequence

import duckdb

from storage.features.schema import Field, Schema
from storage.times import to_timestamp

_COLUMNS = (
    "prediction_id UUID NOT NULL, row_no INTEGER NOT NULL, started_at TIMESTAMP NOT NULL,"
    " route VARCHAR NOT NULL, variant VARCHAR NOT NULL, upstream VARCHAR NOT NULL,"
    " model VARCHAR NOT NULL, role VARCHAR NOT NULL, batch BIGINT NOT NULL"
)
_NAMES = "prediction_id, row_no, started_at, route, variant, upstream, model, role, batch"
_SELECT = "SELECT model, version, table_name, fields FROM feature_schemas"


def all_schemas(connection: duckdb.DuckDBPyConnection) -> list[Schema]:
    """Return every version of every model, by model and version."""
    rows = connection.execute(f"{_SELECT} ORDER BY model, version").fetchall()
    return [_schema(*row) for row in rows]


def newest_schemas(
    connection: duckdb.DuckDBPyConnection, models: Collection[str]
) -> dict[str, Schema]:
    """Return the newest version of each of the models that have one."""
    rows = connection.execute(
        f"{_SELECT} WHERE list_contains(?::VARCHAR[], model)", [list(models)]
    ).fetchall()
    # A few rows are sorted out sooner here than a window function is planned.
    return {row[0]: _schema(*row) for row in sorted(rows, key=lambda row: row[:2])}


def taken_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the names of all tables and views."""
    rows = connection.execute("SHOW TABLES").fetchall()
    return {str(name).lower() for (name,) in rows}


def add_schemas(
    connection: duckdb.DuckDBPyConnection, schemas: Sequence[Schema], now_us: int
) -> None:
    """Make the tables of new versions and the views over them, in a transaction of their own.

    Raises
    ------
    duckdb.Error
        Nothing was made.
    """
    connection.begin()
    try:
        for schema in schemas:
            connection.execute(
                f'CREATE TABLE "{schema.table}" ({_COLUMNS}, features {schema.struct} NOT NULL)'
            )
            connection.execute(
                "INSERT INTO feature_schemas VALUES (?, ?, ?,"
                ' ?::STRUCT("name" VARCHAR, "type" VARCHAR, field VARCHAR)[], ?)',
                [
                    schema.model,
                    schema.version,
                    schema.table,
                    [field._asdict() for field in schema.fields],
                    to_timestamp(now_us),
                ],
            )
        _make_views(connection, {schema.model for schema in schemas})
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        raise


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views of all models anew, after their tables were restored."""
    _make_views(connection, None)


def _make_views(connection: duckdb.DuckDBPyConnection, models: Collection[str] | None) -> None:
    versions: dict[str, list[Schema]] = {}
    for schema in all_schemas(connection):
        if models is None or schema.model in models:
            versions.setdefault(schema.model, []).append(schema)
    for schemas in versions.values():
        newest = schemas[-1]
        # A cast of a STRUCT goes by its fields' names; those that it lacks become NULL.
        parts = [
            f'SELECT {_NAMES}, features::{newest.struct} AS features FROM "{schema.table}"'  # noqa: S608 (our names)
            for schema in schemas
        ]
        connection.execute(f'CREATE OR REPLACE VIEW "{newest.view}" AS {" UNION ALL ".join(parts)}')


def _schema(model: str, version: int, table: str, fields: Sequence[dict[str, str]]) -> Schema:
    listed = tuple(Field(one["name"], one["type"], one["field"]) for one in fields)
    return Schema(model, version, table, listed)
