"""The folder against the registry: left-overs, a lost registry, damage, older programs' text."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from storage.records import Payload
from storage.text.chunk import Chunk, FileNote, TextRow, engine, read_note
from storage.text.harvest import save_losses
from storage.text.layout import day_files, is_old_form, quoted
from storage.text.recovery import marks_of, plan
from storage.text.registry import (
    TextFile,
    checksum_of,
    describe,
    load_files,
    load_marks,
    register,
    save_marks,
    set_state,
)
from storage.text.writing import write_chunk
from storage.times import from_timestamp, to_timestamp
from storage.writer import Loss

_FETCHED_ROWS = 64
_STAGED_BYTES = 32 << 20


def tidy_folder(cursor: duckdb.DuckDBPyConnection, folder: Path, now_us: int) -> int:
    """Make folder and registry agree; return the number of files taken in."""
    for partial in folder.glob("day=*/*.tmp"):
        partial.unlink()
    adopted = _settle_strays(cursor, folder, now_us)
    _set_aside_missing(cursor, folder, now_us)
    _move_staged(cursor, folder, now_us)
    return adopted


def _settle_strays(cursor: duckdb.DuckDBPyConnection, folder: Path, now_us: int) -> int:
    registered = {one.file: one for one in load_files(cursor)}
    on_disk = frozenset(day_files(folder))
    strays = sorted(on_disk - registered.keys())
    if not strays:
        return 0
    notes = _notes(folder, [name for name in strays if not is_old_form(name)])
    marks = load_marks(cursor)
    decided = plan(notes, on_disk, registered, marks, has_staged=_has_staged(cursor))
    for name in decided.remove:
        (folder / name).unlink()
    for name in decided.foreign:
        _rename_damaged(folder / name)
    files = _described(folder, {name: notes[name] for name in decided.adopt}, now_us)
    taken = {one.file for one in files}
    old = [name for name in strays if is_old_form(name)]
    files += [
        one._replace(adopted=True)
        for one in _described(folder, {name: FileNote() for name in old}, now_us)
    ]
    cursor.begin()
    register(cursor, files)
    set_state(cursor, [n for n in decided.replaced if n in registered], "gone", now_us)
    save_marks(cursor, marks_of({name: notes[name] for name in taken}, marks))
    for one in files:
        if one.adopted:
            cursor.execute(
                "DELETE FROM payloads_recent WHERE id IN (SELECT id FROM read_parquet(?))",
                [str(folder / one.file)],
            )
    cursor.commit()
    return len(files)


def _notes(folder: Path, names: Sequence[str]) -> dict[str, FileNote]:
    notes: dict[str, FileNote] = {}
    if not names:
        return notes
    with engine() as connection:
        for name in names:
            try:
                notes[name] = read_note(connection, folder / name)
            except duckdb.Error:
                _rename_damaged(folder / name)
    return notes


def _described(folder: Path, notes: dict[str, FileNote], now_us: int) -> list[TextFile]:
    """Return what the registry is to say of readable files; the others are renamed."""
    found: list[TextFile] = []
    if not notes:
        return found
    with engine() as connection:
        for name, note in notes.items():
            path = folder / name
            try:
                one = describe(connection, path, name, text_bytes=note.text_bytes, level=note.level)
            except (duckdb.Error, ValueError):
                _rename_damaged(path)
            else:
                found.append(one._replace(changed_at=now_us))
    return found


def _set_aside_missing(cursor: duckdb.DuckDBPyConnection, folder: Path, now_us: int) -> None:
    """Count files for lost that are registered and not there, or not of their size."""
    wrong = []
    for one in load_files(cursor, "live"):
        path = folder / one.file
        if not path.exists() or path.stat().st_size != one.bytes:
            wrong.append(one)
    _set_damaged(cursor, folder, wrong, now_us)


def quarantine(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    now_us: int,
    files: Sequence[TextFile],
    *,
    reading: bool = False,
) -> list[TextFile]:
    """Rename those of some files that are not what was written, and count their text for lost.

    Returns
    -------
    list of TextFile
        The damaged ones. With `reading`, also those whose bytes are as registered and that
        DuckDB cannot read all the same.
    """
    wrong = [one for one in files if not _is_sound(folder / one.file, one, reading=reading)]
    _set_damaged(cursor, folder, wrong, now_us)
    return wrong


def _is_sound(path: Path, one: TextFile, *, reading: bool) -> bool:
    try:
        size, checksum = checksum_of(path)
    except FileNotFoundError:
        return False
    if size != one.bytes or (one.crc32 is not None and checksum != one.crc32):
        return False
    if one.crc32 is not None and not reading:
        return True
    column = "request" if is_old_form(one.file) else "request_parts"
    try:
        with engine() as connection:
            connection.execute(
                f"SELECT count(*), max(hash({column}, response)) FROM read_parquet({quoted(path)})"  # noqa: S608 (names of this file)
            ).fetchall()
    except duckdb.OutOfMemoryException:
        return True
    except duckdb.Error:
        return False
    return True


def _set_damaged(
    cursor: duckdb.DuckDBPyConnection, folder: Path, files: Sequence[TextFile], now_us: int
) -> None:
    if not files:
        return
    for one in files:
        _rename_damaged(folder / one.file)
    cursor.begin()
    set_state(cursor, [one.file for one in files], "damaged", now_us)
    losses = [Loss(f"payloads/{one.file}", 0, 0, "text", one.rows, one.bytes) for one in files]
    save_losses(cursor, losses, now_us)
    cursor.commit()


def _rename_damaged(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.rename(path.with_suffix(".damaged"))


def _has_staged(cursor: duckdb.DuckDBPyConnection) -> bool:
    return cursor.execute("SELECT 1 FROM payloads_recent LIMIT 1").fetchone() is not None


def _move_staged(cursor: duckdb.DuckDBPyConnection, folder: Path, now_us: int) -> None:
    """Move the text that an older program left in the database to files."""
    if not _has_staged(cursor):
        return
    known = {one.file for one in load_files(cursor)}
    files: list[TextFile] = []
    cursor.begin()
    result = cursor.execute(
        "SELECT id::VARCHAR, started_at, request, response, request_truncated,"
        " response_truncated, response_type FROM payloads_recent ORDER BY rowid"
    )
    chunk = Chunk()
    while rows := result.fetchmany(_FETCHED_ROWS):
        for prediction_id, started_at, request, response, *rest in rows:
            payload = Payload(request.encode(), response.encode(), *rest)
            started_us = from_timestamp(started_at)
            chunk.add(TextRow(prediction_id, started_us, payload, None, None, None))
        if chunk.text_bytes >= _STAGED_BYTES:
            files += write_chunk(folder, chunk, known, staged=True)
            chunk = Chunk()
    files += write_chunk(folder, chunk, known, staged=True)
    register(cursor, [one._replace(changed_at=now_us) for one in files])
    cursor.execute("DELETE FROM payloads_recent")
    cursor.commit()


def adopted_ids(cursor: duckdb.DuckDBPyConnection, folder: Path, chunk: Chunk) -> set[str]:
    """Return whose text of a chunk is in adopted files of an older program already.

    Those files do not say how much of the spool is in them.
    """
    adopted = [one for one in load_files(cursor, "live") if one.adopted]
    if not adopted or not chunk.rows:
        return set()
    times = [row.started_at for row in chunk.rows]
    first, last = min(times), max(times)
    paths = [
        str(folder / one.file) for one in adopted if one.first_at <= last and one.last_at >= first
    ]
    if not paths:
        return set()
    rows = cursor.execute(
        "SELECT id::VARCHAR FROM read_parquet(?) WHERE started_at BETWEEN ? AND ?",
        [paths, to_timestamp(first), to_timestamp(last)],
    ).fetchall()
    return {row[0] for row in rows}
