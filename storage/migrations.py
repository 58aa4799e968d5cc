"""Numbered, forward-only steps from an older file to this program's schema."""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from storage.errors import DatabaseUnreadable, MigrationFailed
from storage.schema import VERSION_1, VERSION_2, VERSION_TABLE
from storage.schema_archive import VERSION_6
from storage.schema_cells import VERSION_9
from storage.schema_facts import VERSION_3
from storage.schema_features import VERSION_7
from storage.schema_monitors import VERSION_8
from storage.schema_rollups import VERSION_4
from storage.schema_signals import VERSION_10, VERSION_11
from storage.schema_text import VERSION_5
from storage.times import to_timestamp


class Step(NamedTuple):
    """One version: statements that apply together or not at all."""

    version: int
    name: str
    statements: tuple[str, ...]


STEPS: tuple[Step, ...] = (
    Step(1, "prediction log", VERSION_1),
    Step(2, "tool calls", VERSION_2),
    Step(3, "facts", VERSION_3),
    Step(4, "roll-ups", VERSION_4),
    Step(5, "text files", VERSION_5),
    Step(6, "archive", VERSION_6),
    Step(7, "feature schemas", VERSION_7),
    Step(8, "monitors", VERSION_8),
    Step(9, "cells by segment", VERSION_9),
    Step(10, "signals of answers", VERSION_10),
    Step(11, "language of answers", VERSION_11),
)
"""Only ever appended to; a step that has shipped is never edited."""


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the version of a file; 0 is an empty one.

    Raises
    ------
    DatabaseUnreadable
        The file has tables, but none of ours.
    """
    tables = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
    if "schema_version" in tables:
        row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
        return int(row[0]) if row else 0
    if tables:
        raise DatabaseUnreadable(
            f"the database holds {len(tables)} tables but no `schema_version`, so it is not a"
            " prediction log; point `gateway.data_dir` at another folder"
        )
    return 0


def check_version(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse, before anything is read, a file that a newer or an older program wrote.

    Raises
    ------
    DatabaseUnreadable
        A reader cannot bring it to this program's schema: only a writer may.
    """
    newest = STEPS[-1].version
    version = _known_version(connection, newest)
    if version < newest:
        raise DatabaseUnreadable(
            f"the database has schema version {version} and this program reads {newest};"
            " start the server once (`monitor serve`), which brings it up to date"
        )


def _known_version(connection: duckdb.DuckDBPyConnection, newest: int) -> int:
    version = schema_version(connection)
    if version > newest:
        raise DatabaseUnreadable(
            f"the database has schema version {version} and this program knows {newest};"
            " install the newer driftgate, or point `gateway.data_dir` at another folder"
        )
    return version


def migrate(
    connection: duckdb.DuckDBPyConnection, *, now_us: int, steps: Sequence[Step] = STEPS
) -> int:
    """Bring a file to the newest version; return the version it had before.

    Each step is one transaction (of an empty file, all are one) followed by a checkpoint, because
    data definitions left in the write-ahead log are what DuckDB has failed to replay (duckdb
    issues 22044 and 19712).

    Raises
    ------
    DatabaseUnreadable
        The file is of a newer version.
    MigrationFailed
        A step did not apply; the file is at the version before it.
    """
    before = _known_version(connection, steps[-1].version)
    wanted = [step for step in steps if step.version > before]
    # An empty file has nothing to lose: one transaction and one checkpoint make it.
    for together in [wanted] if before == 0 else [[step] for step in wanted]:
        _apply(connection, together, now_us)
    return before


def _apply(connection: duckdb.DuckDBPyConnection, steps: Sequence[Step], now_us: int) -> None:
    step = steps[0]
    try:
        connection.begin()
        connection.execute(VERSION_TABLE)
        for step in steps:
            for statement in step.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?)",
                [step.version, step.name, to_timestamp(now_us)],
            )
        connection.commit()
    except duckdb.Error as error:
        connection.rollback()
        raise MigrationFailed(
            f"schema step {step.version} (`{step.name}`) did not apply: {error};"
            " the database is as it was before it"
        ) from error
    connection.execute("CHECKPOINT")
