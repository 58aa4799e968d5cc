"""Files that take the place of others: merged ones, and those without forgotten text."""

import shutil
from contextlib import suppress
from pathlib import Path

import duckdb

from storage.errors import DatabaseFailed
from storage.text.chunk import FileNote, engine, merged_spans, read_note
from storage.text.layout import SPILL, next_name
from storage.text.merging import Group
from storage.text.registry import FileState, TextFile, load_files, register, set_state
from storage.text.tidying import quarantine
from storage.text.writing import OutOfMemory, publish_all, write_merged, write_without


def merge_group(
    cursor: duckdb.DuckDBPyConnection, folder: Path, group: Group, now_us: int
) -> TextFile | None:
    """Merge files into one and retire them, in one transaction; None if one of them is damaged.

    What does not fit the memory together is merged by halves; two that do not fit stay.
    """
    spill = folder / SPILL
    inputs = group.files
    known = {one.file for one in load_files(cursor)}
    name = next_name(folder, inputs[0].day, known)
    try:
        note = _note_of_merged(folder, group)
        merged = write_merged(folder, inputs, name, note, spill)
    except OutOfMemory:
        if len(inputs) > 2:
            return merge_group(
                cursor, folder, group._replace(files=inputs[: len(inputs) // 2]), now_us
            )
        _leave_at(cursor, inputs, group.level)
        return None
    except duckdb.Error as error:
        if not quarantine(cursor, folder, now_us, inputs, reading=True):
            raise DatabaseFailed(f"{folder / name} could not be written: {error}") from error
        return None
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    publish_all(folder, [name])
    _replace(cursor, inputs, [merged], now_us)
    return merged


def rewrite_without(
    cursor: duckdb.DuckDBPyConnection, folder: Path, ids: list[str], now_us: int
) -> int:
    """Write the files that hold some predictions anew without them; return the rows removed."""
    files = load_files(cursor, "live")
    known = {one.file for one in load_files(cursor)}
    removed = 0
    for one in files:
        found = _rows_of(folder / one.file, ids)
        if found is None:
            quarantine(cursor, folder, now_us, [one], reading=True)
        elif found:
            removed += found
            name = next_name(folder, one.day, known)
            known.add(name)
            with engine() as connection:
                note = read_note(connection, folder / one.file)
            note = FileNote(
                level=one.level, coverage=note.coverage, replaces=(one.file, *note.replaces)
            )
            try:
                rest = write_without(folder, one, ids, name, note)
            except duckdb.Error as error:
                raise DatabaseFailed(f"{one.file} could not be rewritten: {error}") from error
            if rest is not None:
                publish_all(folder, [name])
            _replace(cursor, [one], [] if rest is None else [rest], now_us, "gone")
    return removed


def _rows_of(path: Path, ids: list[str]) -> int | None:
    try:
        with engine() as connection:
            row = connection.execute(
                "SELECT count(*) FROM read_parquet(?) WHERE id IN (SELECT unnest(?::UUID[]))",
                [str(path), ids],
            ).fetchone()
    except duckdb.Error:
        return None
    return int(row[0]) if row else 0


def _note_of_merged(folder: Path, group: Group) -> FileNote:
    with engine() as connection:
        notes = [read_note(connection, folder / one.file) for one in group.files]
    return FileNote(
        level=group.level,
        coverage=merged_spans(span for note in notes for span in note.coverage),
        replaces=(
            *(one.file for one in group.files),
            *(name for note in notes for name in note.replaces),
        ),
        text_bytes=sum(one.text_bytes for one in group.files),
    )


def _leave_at(cursor: duckdb.DuckDBPyConnection, files: list[TextFile], level: int) -> None:
    for one in files:
        cursor.execute("UPDATE payload_files SET level = ? WHERE file = ?", [level, one.file])


def _replace(
    cursor: duckdb.DuckDBPyConnection,
    old: list[TextFile],
    new: list[TextFile],
    now_us: int,
    state: FileState = "retired",
) -> None:
    cursor.begin()
    try:
        register(cursor, [one._replace(changed_at=now_us) for one in new])
        set_state(cursor, [one.file for one in old], state, now_us)
    except BaseException:
        with suppress(duckdb.Error):
            cursor.rollback()
        raise
    cursor.commit()
