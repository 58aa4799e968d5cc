"""What a data directory holds: rows, bytes, files, and how far everything has got."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import msgspec

from storage.database import ARCHIVE_FOLDER, COPIES_FOLDER, PAYLOADS_FOLDER, Database
from storage.lifecycle.copies import Usage, usage
from storage.migrations import schema_version
from storage.segments import SegmentInfo, list_segments
from storage.text.harvest import load_standing, unarchived_bytes
from storage.times import from_timestamp
from storage.watermarks import Watermark, load_watermarks

FACTS = ("predictions", "attempts", "feedback")
INPUTS = "features_"
"""What the names of tables of model inputs begin with."""
_THREADS = 2


class TableSize(msgspec.Struct, frozen=True):
    """One table: rows, and bytes of the blocks that only it uses."""

    name: str
    rows: int
    bytes: int


class FolderSize(msgspec.Struct, frozen=True):
    """Files below one folder, and their bytes on disk."""

    files: int
    bytes: int


class SourceLag(msgspec.Struct, frozen=True):
    """How far one source of the spool is in the database.

    Attributes
    ----------
    lag_bytes : int
        Written, and not in the database yet.
    open_requests : int
        Begun, and not ended where the reading stopped.
    """

    source: str
    segment: int
    byte_offset: int
    frames: int
    finished: bool
    lag_bytes: int
    open_requests: int


class DatabaseInfo(msgspec.Struct, frozen=True):
    """State of a data directory; times are microseconds since the epoch.

    Attributes
    ----------
    file_bytes, wal_bytes, free_bytes : int
        Of the database file, its write-ahead log, and blocks of the file without content.
    record_bytes : float or None
        Bytes of the database a prediction, its attempts and feedback included; None without rows,
        or where none is checkpointed yet.
    predictions, oldest_at, newest_at : int
        Rows of facts, and when the first and the last of them started.
    lag_bytes, text_lag_bytes : int
        Of the spool: not in the database yet; in the database, with text that is in no file yet.
    losses : dict of str to int
        Rows of `spool_losses`, by kind.
    """

    data_dir: str
    at: int
    schema_version: int
    file_bytes: int
    wal_bytes: int
    free_bytes: int
    predictions: int
    oldest_at: int | None
    newest_at: int | None
    record_bytes: float | None
    lag_bytes: int
    text_lag_bytes: int
    tables: tuple[TableSize, ...]
    text: FolderSize
    archive: FolderSize
    spool: FolderSize
    sources: tuple[SourceLag, ...]
    losses: dict[str, int]
    version: int = 1


def folder_size(folder: Path) -> FolderSize:
    """Return what lies below a folder; nothing if there is none."""
    sizes = [size for _, size in files_below(folder)]
    return FolderSize(len(sizes), sum(sizes))


def files_below(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files below a folder with their bytes on disk, in no order."""
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue  # Removed since it was listed.
        if path.is_file():
            yield path, found.st_size


def database_info(database: Database, spool_dir: Path, now_us: int) -> DatabaseInfo:
    """Look at everything; a second for ten million rows.

    Raises
    ------
    StorageError
    """
    used = usage(database)
    with database.cursor() as cursor:
        tables = table_sizes(database, cursor)
        span = cursor.execute("SELECT min(started_at), max(started_at) FROM predictions").fetchone()
        marks = load_watermarks(cursor)
        losses = dict(
            cursor.execute(
                "SELECT kind, count(*) FROM spool_losses GROUP BY 1 ORDER BY 1"
            ).fetchall()
        )
        version = schema_version(cursor)
        text_lag = unarchived_bytes(spool_dir, load_standing(cursor))
    oldest, newest = span or (None, None)
    segments = list_segments(spool_dir)
    sources = tuple(source_lags(segments, marks))
    rows = next(table.rows for table in tables if table.name == "predictions")
    return DatabaseInfo(
        data_dir=str(database.data_dir),
        at=now_us,
        schema_version=version,
        file_bytes=used.file_bytes,
        wal_bytes=used.wal_bytes,
        free_bytes=max(0, used.file_bytes - used.used_bytes),
        predictions=rows,
        oldest_at=from_timestamp(oldest) if oldest else None,
        newest_at=from_timestamp(newest) if newest else None,
        record_bytes=facts_bytes(tables) / rows or None if rows else None,
        lag_bytes=sum(source.lag_bytes for source in sources),
        text_lag_bytes=text_lag,
        tables=tuple(tables),
        text=folder_size(database.data_dir / PAYLOADS_FOLDER),
        archive=folder_size(database.data_dir / ARCHIVE_FOLDER),
        spool=folder_size(spool_dir),
        sources=sources,
        losses=losses,
    )


def facts_bytes(tables: Sequence[TableSize]) -> int:
    """Return the bytes of everything that retention of facts removes."""
    return sum(
        table.bytes for table in tables if table.name in FACTS or table.name.startswith(INPUTS)
    )


def total_bytes(database: Database, spool_dir: Path) -> int:
    """Return the bytes of the data directory that retention answers for.

    Free blocks of the database file are not counted: they are filled before it grows.
    """
    found: Usage = usage(database)
    folders = (PAYLOADS_FOLDER, ARCHIVE_FOLDER, COPIES_FOLDER)
    beside = sum(folder_size(database.data_dir / name).bytes for name in folders)
    return found.used_bytes + found.wal_bytes + beside + folder_size(spool_dir).bytes


def table_sizes(database: Database, cursor: duckdb.DuckDBPyConnection) -> list[TableSize]:
    """Return rows and bytes of every table, the largest first.

    Bytes are whole blocks; columns that share a block count it once. Rows that are not yet
    checkpointed have none.
    """
    names = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        " AND NOT temporary ORDER BY 1"
    ).fetchall()
    block_bytes = _block_bytes(cursor)

    def size_of(name: str) -> TableSize:
        with database.cursor() as own:
            return _table_size(own, name, block_bytes)

    # DuckDB lists the segments of a table on one core: half a second for a wide one.
    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(size_of, [str(name) for (name,) in names]))
    return sorted(found, key=lambda table: (-table.bytes, -table.rows, table.name))


def _table_size(cursor: duckdb.DuckDBPyConnection, name: str, block_bytes: int) -> TableSize:
    rows = cursor.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608 (a name of the catalog)
    blocks = cursor.execute(
        "SELECT count(DISTINCT block) FROM (SELECT unnest(list_append("
        "coalesce(additional_block_ids, []), block_id)) AS block FROM pragma_storage_info(?)"
        " WHERE persistent) WHERE block >= 0",
        [name],
    ).fetchone()
    assert rows is not None, "count always answers"
    assert blocks is not None, "count always answers"
    return TableSize(name, int(rows[0]), int(blocks[0]) * block_bytes)


def _block_bytes(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute(
        "SELECT block_size FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchone()
    return int(row[0]) if row else 0


def source_lags(segments: list[SegmentInfo], marks: dict[str, Watermark]) -> Iterator[SourceLag]:
    """Yield every source that has segments or a watermark, in order of names."""
    sizes: dict[str, dict[int, int]] = {name: {} for name in marks}
    for segment in segments:
        sizes.setdefault(segment.source, {})[segment.number] = segment.size_bytes
    for source, by_number in sorted(sizes.items()):
        mark = marks.get(source) or Watermark(source, min(by_number))
        ahead = sum(size for number, size in by_number.items() if number > mark.segment)
        here = max(0, by_number.get(mark.segment, 0) - mark.byte_offset)
        yield SourceLag(
            source,
            mark.segment,
            mark.byte_offset,
            mark.frames,
            mark.finished,
            0 if mark.finished else ahead + here,
            len(mark.pending),
        )
