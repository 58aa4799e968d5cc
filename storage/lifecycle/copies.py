"""Whole copies of the database file, made beside it while it is in use."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.database import COPIES_FOLDER, Database
from storage.errors import DatabaseFailed
from storage.files import sync_file

_STALE_S = 3600.0
_SPARE_SHARE = 1.1
_HEADER_BYTES = 12_288


class Usage(NamedTuple):
    """How a database file is used, in bytes.

    Attributes
    ----------
    file_bytes, wal_bytes : int
        On disk.
    used_bytes : int
        Blocks of the file that hold something; the rest is filled before the file grows.
    """

    file_bytes: int
    wal_bytes: int
    used_bytes: int


def usage(database: Database) -> Usage:
    """Return how the file is used; blocks that a reader still needs count as used."""
    with database.cursor() as cursor:
        row = cursor.execute(
            "SELECT block_size, used_blocks FROM pragma_database_size()"
            " WHERE database_name = current_database()"
        ).fetchone()
    size = database.statistics()
    used = int(row[0]) * int(row[1]) if row else 0
    return Usage(size.file_bytes, size.wal_bytes, used)


def state_of(database: Database) -> tuple[int, int, bytes]:
    """Return what every commit and every checkpoint of the file changes."""
    size = database.statistics()
    return size.file_bytes, size.wal_bytes, database.file.head(_HEADER_BYTES)


def moment_of(database: Database) -> tuple[object, ...] | None:
    """Return what differs after every commit and every opening; None where the file is gone."""
    try:
        return (database.statistics().reopened, *state_of(database))
    except OSError:
        return None


def copies_folder(database: Database, now_us: int) -> Path:
    """Return the folder of copies under way, without what interrupted ones left in it."""
    folder = database.data_dir / COPIES_FOLDER
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        if left.stat().st_mtime < now_us / 1e6 - _STALE_S:
            remove_copy(left)
    return folder


def remove_copy(path: Path) -> None:
    """Remove a copy, a file or a folder, and its write-ahead log."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    for one in (path, path.with_name(path.name + ".wal")):
        one.unlink(missing_ok=True)


def copy_database(database: Database, target: Path) -> dict[str, int]:
    """Write all tables, as of one moment, to a new file in the folder of copies; rows lie dense.

    Readers and writers go on meanwhile.

    Returns
    -------
    dict of str to int
        Rows of each table in the copy.

    Raises
    ------
    DatabaseFailed
        The disk has no room for a copy, or a statement failed; nothing is left behind.
    """
    _check_room(database)
    remove_copy(target)
    try:
        with database.cursor() as cursor, _attached(cursor, target):
            rows = _copy_all(cursor)
        sync_file(target)
    except OSError as error:
        remove_copy(target)
        raise DatabaseFailed(f"{target} could not be written: {error}") from error
    except BaseException:
        remove_copy(target)
        raise
    return rows


def _check_room(database: Database) -> None:
    needed = round(usage(database).used_bytes * _SPARE_SHARE)
    free = shutil.disk_usage(database.data_dir).free
    if free < needed:
        raise DatabaseFailed(
            f"a copy of {database.path} needs {needed:,} bytes and the disk has {free:,};"
            " free space, or lower `record.retention`"
        )


@contextmanager
def _attached(cursor: duckdb.DuckDBPyConnection, target: Path) -> Iterator[None]:
    quoted = str(target).replace("'", "''")
    cursor.execute(f"ATTACH '{quoted}' AS successor")
    try:
        yield
    finally:
        with suppress(duckdb.Error):
            cursor.rollback()  # Without an open transaction it is refused.
        cursor.execute("DETACH successor")


def _copy_all(cursor: duckdb.DuckDBPyConnection) -> dict[str, int]:
    row = cursor.execute("SELECT current_database()").fetchone()
    assert row is not None, "a connection has a database"
    source = str(row[0]).replace('"', '""')
    cursor.begin()
    cursor.execute(f'COPY FROM DATABASE "{source}" TO successor')
    rows = {}
    for (table,) in cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        " AND NOT temporary"
    ).fetchall():
        counted = cursor.execute(
            f'SELECT (SELECT count(*) FROM "{source}"."{table}"),'  # noqa: S608 (names of the catalog)
            f' (SELECT count(*) FROM successor."{table}")'
        ).fetchone()
        if counted is None or counted[0] != counted[1]:
            raise DatabaseFailed(f"the copy of table `{table}` lacks rows: {counted}")
        rows[str(table)] = int(counted[1])
    cursor.commit()
    cursor.execute("CHECKPOINT successor")
    return rows
