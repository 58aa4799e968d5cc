"""Deletion of what is known of a user or of single predictions, wherever it lies.

Rows go from the database, the text files, the archive and the spool, and tombstones keep them
from coming back. Roll-ups stay: they are counts, and hold nobody.
"""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from storage.archive.facts import FactArchive
from storage.database import FILE_NAME, Database
from storage.lifecycle.tombstones import add_tombstones
from storage.segments import SegmentInfo, list_segments, remove_segment
from storage.text.archive import TextArchive
from storage.times import to_timestamp
from storage.watermarks import Watermark, load_watermarks

log = logging.getLogger(__name__)

# Tables whose rows have no other owner than a prediction name it in one of these columns.
_OWNED_BY = ("prediction_id", "id")
_CHOSEN = "forgetting"


class ForgetRequest(NamedTuple):
    """Whom to forget.

    Attributes
    ----------
    user_keys : collection of str
        As they are stored: hashed.
    ids : collection of str
        Predictions; their shadows go with them.
    """

    user_keys: Collection[str] = ()
    ids: Collection[str] = ()


class Remainder(msgspec.Struct, frozen=True):
    """A file that may still hold something, and what becomes of it."""

    file: str
    why: str


class ForgetResult(msgspec.Struct, frozen=True):
    """What was removed, and what could not be yet.

    Attributes
    ----------
    predictions : int
        Rows of facts.
    other_rows : int
        Rows of attempts, feedback and model inputs.
    text_rows, archived_rows : int
        In files that were written anew without them; rows whose text is still in the spool only
        are not counted.
    segments : int
        Files of the spool that were removed early.
    remainders : tuple of Remainder
        What is left.
    """

    predictions: int
    other_rows: int
    text_rows: int
    archived_rows: int
    segments: int
    remainders: tuple[Remainder, ...]
    version: int = 1


def forget(
    database: Database,
    files: tuple[TextArchive, FactArchive],
    request: ForgetRequest,
    *,
    now_us: int,
) -> ForgetResult:
    """Remove everything of some users or predictions; a second call goes on where one failed.

    The caller compacts the database afterwards: until then deleted rows stay on free blocks.

    Raises
    ------
    StorageError
    """
    text, archive = files
    # First, so that a death from here on loses no one's wish.
    with database.cursor() as cursor:
        add_tombstones(cursor, request.user_keys, request.ids, now_us)
    # Segments may go only when all else that they hold is in files.
    while text.step(flush=True).rows:
        pass
    archive.archive_now()
    ids, other_rows = _remove_rows(database, request, now_us)
    text_rows = text.forget(ids)
    archived_rows = archive.forget(request.user_keys, ids)
    database.checkpoint()
    segments = _remove_segments(database, text, archive)
    remainders = (*_open_segments(database), *_set_aside(database.data_dir))
    log.warning(
        "forgot %d predictions of %d users and %d ids; %d files may still hold some",
        len(ids),
        len(request.user_keys),
        len(request.ids),
        len(remainders),
    )
    return ForgetResult(len(ids), other_rows, text_rows, archived_rows, segments, remainders)


def _remove_rows(database: Database, request: ForgetRequest, now_us: int) -> tuple[list[str], int]:
    with database.cursor() as cursor:
        cursor.begin()
        try:
            cursor.execute(
                f"CREATE TEMP TABLE {_CHOSEN} AS SELECT id FROM predictions"  # noqa: S608 (our name)
                " WHERE (user_key IN (SELECT unnest($1::VARCHAR[])) AND started_at < $3)"
                " OR id IN (SELECT unnest($2::UUID[])) OR pair_id IN (SELECT unnest($2::UUID[]))",
                [list(request.user_keys), list(request.ids), to_timestamp(now_us)],
            )
            rows = cursor.execute(f"SELECT id::VARCHAR FROM {_CHOSEN}").fetchall()  # noqa: S608 (our name)
            others = sum(
                _delete(cursor, table, column)
                for table, column in _owned_tables(cursor)
                if table != "predictions"
            )
            _delete(cursor, "predictions", "id")
            cursor.execute(f"DROP TABLE {_CHOSEN}")
            cursor.commit()
        except BaseException:
            cursor.rollback()
            raise
    return [str(one) for (one,) in rows], others


def _owned_tables(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return cursor.execute(
        "SELECT table_name, arg_min(column_name, list_position($1, column_name))"
        " FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, table_name)"
        " WHERE database_name = current_database() AND data_type = 'UUID'"
        " AND column_name IN (SELECT unnest($1)) AND table_name <> 'forgotten'"
        " GROUP BY table_name ORDER BY table_name",
        [list(_OWNED_BY)],
    ).fetchall()


def _delete(cursor: duckdb.DuckDBPyConnection, table: str, column: str) -> int:
    found = cursor.execute(
        f'DELETE FROM "{table}" WHERE "{column}" IN (SELECT id FROM {_CHOSEN})'  # noqa: S608 (names of the catalog)
    ).fetchall()
    return int(found[0][0])


def _remove_segments(database: Database, text: TextArchive, archive: FactArchive) -> int:
    with database.cursor() as cursor:
        marks = load_watermarks(cursor)
    return sum(
        remove_segment(segment.path)
        for segment in list_segments(database.data_dir / "spool")
        if _is_read(segment, marks.get(segment.source))
        and _is_behind(segment, text.archived(segment.source))
        and _is_behind(segment, archive.archived(segment.source))
    )


def _is_read(segment: SegmentInfo, mark: Watermark | None) -> bool:
    return mark is not None and (mark.finished or segment.number < mark.segment)


def _is_behind(segment: SegmentInfo, place: tuple[int, int] | None) -> bool:
    if place is None:
        return False
    number, offset = place
    return segment.number < number or (segment.number == number and offset >= segment.size_bytes)


def _open_segments(database: Database) -> list[Remainder]:
    why = "a segment of the spool; removed an hour after it is full or old, read and archived"
    return [Remainder(str(s.path), why) for s in list_segments(database.data_dir / "spool")]


def _set_aside(data_dir: Path) -> list[Remainder]:
    why = "was set aside; remove it when nobody needs it"
    damaged = data_dir.glob(f"{FILE_NAME}.damaged-*")
    return [Remainder(str(path), why) for path in sorted(damaged)]
