"""Chunks to files: written, brought to the disk and named, so that only the registry is missing."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import msgspec

from storage.errors import DatabaseFailed
from storage.files import sync_file, sync_folder
from storage.text.chunk import Chunk, FileNote, engine, parquet_options, write_rows
from storage.text.layout import COLUMNS, is_old_form, next_name, quoted
from storage.text.registry import TextFile, checksum_of, describe

# A chat's requests begin alike: the second and third piece are its first messages.
_TOGETHER = "hash(request_parts[2:3]), started_at, id"


class OutOfMemory(DatabaseFailed):
    """The files do not fit the memory for merging together."""


def write_chunk(
    folder: Path, chunk: Chunk, taken: set[str], *, staged: bool = False
) -> list[TextFile]:
    """Write a chunk to one file a day and return what the registry is to say of them.

    Raises
    ------
    DatabaseFailed
        A file could not be written; those that were are for `recover` to clear away.
    """
    days = chunk.by_day()
    names: list[str] = []
    for day in days:
        names.append(next_name(folder, day, taken | set(names)))
    files = []
    for name, rows in zip(names, days.values(), strict=True):
        is_last = name == names[-1]
        text_bytes = sum(len(r.payload.request) + len(r.payload.response) for r in rows)
        note = FileNote(
            coverage=tuple(chunk.spans) if is_last else (),
            anchor=None if is_last else names[-1],
            staged=staged,
            text_bytes=text_bytes,
        )
        path = folder / name
        partial = path.with_suffix(".tmp")
        write_rows(partial, rows, note)
        size, checksum = checksum_of(partial)
        times = [row.started_at for row in rows]
        files.append(
            TextFile(name, len(rows), size, text_bytes, min(times), max(times), crc32=checksum)
        )
    publish_all(folder, names)
    return files


def publish_all(folder: Path, names: Iterable[str]) -> None:
    """Give written files their names, in order, and bring the names to the disk.

    Raises
    ------
    DatabaseFailed
        It did not work.
    """
    try:
        for name in names:
            path = folder / name
            path.with_suffix(".tmp").rename(path)
            sync_folder(path.parent)
        sync_folder(folder)
    except OSError as error:
        raise DatabaseFailed(f"{folder} could not be written: {error}") from error


def write_merged(
    folder: Path, inputs: list[TextFile], name: str, note: FileNote, spill: Path
) -> TextFile:
    """Write the rows of some files to one, requests of a chat side by side; the file has no name.

    Raises
    ------
    OutOfMemory
        The inputs do not fit the memory together.
    duckdb.Error
        An input cannot be read.
    DatabaseFailed
        The file could not be written, or does not hold what the inputs do.
    """
    rows = sum(one.rows for one in inputs)
    text_bytes = sum(one.text_bytes for one in inputs)
    partial = (folder / name).with_suffix(".tmp")
    files = ", ".join(quoted(folder / one.file) for one in inputs)
    statement = (
        f"COPY (SELECT {COLUMNS} FROM read_parquet([{files}], hive_partitioning = false)"  # noqa: S608 (names of this program)
        f" ORDER BY {_TOGETHER}) TO {quoted(partial)}"
        f" ({parquet_options(rows, note)})"
    )
    try:
        with engine(spill) as connection:
            connection.execute(statement)
            merged = describe(connection, partial, name, text_bytes=text_bytes, level=note.level)
        sync_file(partial)
    except duckdb.OutOfMemoryException as error:
        partial.unlink(missing_ok=True)
        raise OutOfMemory(f"{len(inputs)} files of {text_bytes} bytes: {error}") from error
    except OSError as error:
        raise DatabaseFailed(f"{partial} could not be written: {error}") from error
    if merged.rows != rows:
        partial.unlink(missing_ok=True)
        raise DatabaseFailed(f"{rows} rows were merged and {merged.rows} came out: kept as it was")
    return merged


def write_without(
    folder: Path, source: TextFile, ids: list[str], name: str, note: FileNote
) -> TextFile | None:
    """Write a file's rows but some; None if none is left. The file has no name yet.

    Raises
    ------
    duckdb.Error
        The file cannot be read.
    DatabaseFailed
        The new one cannot be written.
    """
    partial = (folder / name).with_suffix(".tmp")
    columns = COLUMNS
    if is_old_form(source.file):
        columns = columns.replace("request_parts", "[request] AS request_parts")
        columns = columns.replace(
            "source, segment, byte_offset",
            "NULL::VARCHAR AS source, NULL::BIGINT AS segment, NULL::BIGINT AS byte_offset",
        )
    with engine() as connection:
        connection.execute("CREATE TABLE forgotten AS SELECT unnest(?::UUID[]) AS id", [ids])
        kept = (
            f"FROM read_parquet({quoted(folder / source.file)}, hive_partitioning = false)"
            " WHERE id NOT IN (FROM forgotten)"
        )
        left = connection.execute(f"SELECT count(*) {kept}").fetchone()
        rows = int(left[0]) if left else 0
        if not rows:
            return None
        text_bytes = source.text_bytes * rows // source.rows
        note = msgspec.structs.replace(note, text_bytes=text_bytes)
        options = parquet_options(rows, note)
        connection.execute(f"COPY (SELECT {columns} {kept}) TO {quoted(partial)} ({options})")
        sync_file(partial)
        return describe(connection, partial, name, text_bytes=text_bytes, level=source.level)
