"""The archive read as a database, while the file itself is locked, damaged or gone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.archive.catalog import (
    FACTS_CATALOG,
    STATE_CATALOG,
    ArchiveFile,
    Catalog,
    load_catalog,
    read_files,
)
from storage.archive.tables import Table, list_tables
from storage.database import ARCHIVE_FOLDER, DEFAULT_LIMITS, Database, DatabaseLimits
from storage.errors import DatabaseUnreadable
from storage.faults import translated
from storage.features.registry import make_views
from storage.migrations import STEPS
from storage.times import DAY_US, to_timestamp
from storage.watermarks import save_watermark


class Offline(NamedTuple):
    """The archive as a database, and what it is worth.

    Attributes
    ----------
    database : Database
        Read only: the tables and views of the log, facts and roll-ups from the archive's files.
    as_of_us : int
        Microseconds since the epoch: what was committed later is not in it.
    """

    database: Database
    as_of_us: int


def open_offline(
    data_dir: Path,
    *,
    from_us: int | None = None,
    to_us: int | None = None,
    limits: DatabaseLimits = DEFAULT_LIMITS,
) -> Offline:
    """Open the archive of a data directory; needs no lock and changes nothing.

    Parameters
    ----------
    from_us, to_us : int, optional
        Microseconds since the epoch: files of facts and roll-ups of other days are left out.
        Both bounds are widened to whole days; counts outside of them are not to be asked for.

    Raises
    ------
    DatabaseUnreadable
        There is no archive, it cannot be read, or a newer program wrote it.
    """
    folder = data_dir.resolve() / ARCHIVE_FOLDER
    catalog = load_catalog(folder / FACTS_CATALOG)
    if catalog is None:
        raise DatabaseUnreadable(
            f"{folder} holds no archive that can be read; a server writes it within"
            " ten minutes of its first prediction"
        )
    newest = STEPS[-1].version
    if catalog.schema_version > newest:
        raise DatabaseUnreadable(
            f"{folder} has schema version {catalog.schema_version} and this program knows"
            f" {newest}; install the newer driftgate"
        )
    state = load_catalog(folder / STATE_CATALOG)
    root = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": limits.memory,
            "threads": limits.threads,
            "file_search_path": str(data_dir.resolve()),
            "python_enable_replacements": False,
        },
    )
    try:
        with translated(folder):
            _fill(root, folder, catalog, state, _days(from_us, to_us))
    except BaseException:
        root.close()
        raise
    return Offline(Database.over(root, data_dir), catalog.written_at)


def _fill(
    root: duckdb.DuckDBPyConnection,
    folder: Path,
    catalog: Catalog,
    state: Catalog | None,
    days: tuple[str, str],
) -> None:
    root.begin()
    for step in STEPS:
        for statement in step.statements:
            root.execute(statement)
    for statement in catalog.tables.values():
        root.execute(statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1))
    for mark in catalog.marks.values():
        save_watermark(root, mark)
    root.execute("DELETE FROM log_state")
    for counter in catalog.counters.items():
        root.execute("INSERT INTO log_state VALUES (?, ?)", list(counter))
    for table in list_tables(root):
        known = catalog if table.kind != "state" else state
        files = [] if known is None else known.of(table.name)
        files = [f for f in files if not f.day or days[0] <= f.day <= days[1]]
        if table.kind in ("facts", "rollup"):
            _show(root, table, folder, files)
        else:
            # One by one: what files of an older schema do not have is the column's default.
            for file in files:
                source = read_files(folder, [file])
                root.execute(f'INSERT INTO "{table.name}" BY NAME SELECT * FROM {source}')  # noqa: S608 (our names)
    make_views(root)
    root.commit()


def _show(
    root: duckdb.DuckDBPyConnection, table: Table, folder: Path, files: Sequence[ArchiveFile]
) -> None:
    """Put a view over files in the place of a table; without files the empty table stays."""
    if not files:
        return
    columns = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in table.columns.items())
    source = read_files(folder, files)
    (found,) = root.execute(
        f"SELECT list(column_name) FROM (DESCRIBE SELECT * FROM {source})"  # noqa: S608 (our names)
    ).fetchall()[0]
    if set(found) != set(table.columns):
        # The files are of several versions of the schema: what some do not have is unknown.
        source = read_files(folder, files, "union_by_name = true")
        source = f"(SELECT * FROM shape.{table.name} UNION ALL BY NAME SELECT * FROM {source})"  # noqa: S608 (our names)
        root.execute("CREATE SCHEMA IF NOT EXISTS shape")
        root.execute(f'CREATE TABLE shape.{table.name} AS SELECT * FROM "{table.name}" LIMIT 0')  # noqa: S608 (our names)
    root.execute(f'DROP TABLE "{table.name}"')
    root.execute(f'CREATE VIEW "{table.name}" AS SELECT {columns} FROM {source}')  # noqa: S608 (our names)


def _days(from_us: int | None, to_us: int | None) -> tuple[str, str]:
    """Return the first and the last day, with one more on each side: a late row is a day off."""
    first = "" if from_us is None else str(to_timestamp(max(0, from_us - DAY_US)).date())
    last = "9999" if to_us is None else str(to_timestamp(to_us + DAY_US).date())
    return first, last
