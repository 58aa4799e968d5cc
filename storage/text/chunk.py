"""Text on its way from the spool to a file: columns in memory, and the Parquet they become."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt

from storage.errors import DatabaseFailed
from storage.files import sync_file
from storage.records import Payload
from storage.text.layout import day_of, quoted
from storage.text.parts import is_cut, marked_request

MEMORY = "512MB"
"""What writing or merging a file may use beyond the text in hand."""

_DICTIONARY_MIN, _DICTIONARY_MAX = 2000, 250_000
_PIECES_A_ROW = 20
# One text is read by unpacking the dictionary of its row group.
_GROUP_TEXT_BYTES = 24 << 20
_GROUP_ROWS_MIN, _GROUP_ROWS_MAX = 2048, 122_880
_NOTE_KEY = "driftgate"
_SELECT = """
SELECT id::UUID AS id, make_timestamp(started_us) AS started_at,
    CASE WHEN cut THEN string_split(request, chr(30)) ELSE [request] END AS request_parts,
    response, request_truncated, response_truncated, response_type, source::VARCHAR AS source,
    segment, byte_offset
FROM columns
"""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a source's spool, whose text a file holds: from, to (not included)."""

    source: str
    from_segment: int
    from_offset: int
    to_segment: int
    to_offset: int


class FileNote(msgspec.Struct, frozen=True):
    """What a text file says of itself, so that the registry can be rebuilt from the files.

    Attributes
    ----------
    level : int
        0 as archived, 1 merged within hours, 2 merged when its day was over.
    coverage : tuple of Span
        Empty in all but the last file of a chunk, which is named last.
    anchor : str or None
        That last file: without it, or one that replaces it, this file was never whole.
    replaces : tuple of str
        Files whose rows are in this one.
    staged : bool
        The rows are from `payloads_recent` of an older program.
    text_bytes : int
        Of requests and responses, uncompressed.
    """

    level: int = 0
    coverage: tuple[Span, ...] = ()
    anchor: str | None = None
    replaces: tuple[str, ...] = ()
    staged: bool = False
    text_bytes: int = 0


_NOTE = msgspec.json.Decoder(FileNote)


class TextRow(NamedTuple):
    """The text of one prediction and where its frame begins in the spool."""

    id: str
    started_at: int
    payload: Payload
    source: str | None
    segment: int | None
    byte_offset: int | None


@dataclass(slots=True)
class Chunk:
    """Rows for files, with what they weigh; `spans` is the stretch of the spool they are from."""

    rows: list[TextRow] = field(default_factory=list)
    text_bytes: int = 0
    spans: list[Span] = field(default_factory=list)

    def add(self, row: TextRow) -> None:
        """Take one row."""
        self.rows.append(row)
        self.text_bytes += len(row.payload.request) + len(row.payload.response)

    def by_day(self) -> dict[str, list[TextRow]]:
        """Return the rows of each UTC day, days in order."""
        days: dict[str, list[TextRow]] = {}
        for row in self.rows:
            days.setdefault(day_of(row.started_at), []).append(row)
        return dict(sorted(days.items()))


@contextmanager
def engine(spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a database in memory, of one thread: rows keep their order, and the rest its core."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": MEMORY,
        "python_enable_replacements": False,
    }
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
        config["temp_directory"] = str(spill)
    with duckdb.connect(":memory:", config=config) as connection:
        yield connection


def write_rows(path: Path, rows: list[TextRow], note: FileNote) -> None:
    """Write rows to a new file and bring it to the disk.

    Raises
    ------
    DatabaseFailed
        It cannot be written; nothing is left behind.
    """
    with _unfinished_removed(path), engine() as connection:
        connection.register("columns", _columns(rows))
        options = parquet_options(len(rows), note)
        connection.execute(f"COPY ({_SELECT}) TO {quoted(path)} ({options})")
        sync_file(path)


@contextmanager
def _unfinished_removed(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, duckdb.Error) as error:
        if path.parent.is_dir():
            path.unlink(missing_ok=True)
        raise DatabaseFailed(f"{path} could not be written: {error}") from error


def parquet_options(rows: int, note: FileNote) -> str:
    """Return the options of COPY for a text file of so many rows.

    Every different piece is stored once for each row group, however large the dictionary gets.
    Its room is taken beforehand and costs time, so it is no larger than what is to be written.
    """
    per_group = int(_GROUP_TEXT_BYTES * rows / max(1, note.text_bytes))
    per_group = min(_GROUP_ROWS_MAX, max(_GROUP_ROWS_MIN, per_group))
    entries = _PIECES_A_ROW * min(rows, per_group)
    entries = min(_DICTIONARY_MAX, max(_DICTIONARY_MIN, entries))
    return (
        f"FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT {entries},"
        f" STRING_DICTIONARY_PAGE_SIZE_LIMIT 1000000000, ROW_GROUP_SIZE {per_group},"
        f" {_note_option(note)}"
    )


def _note_option(note: FileNote) -> str:
    return f"KV_METADATA {{{_NOTE_KEY}: {quoted(msgspec.json.encode(note).decode())}}}"


def read_note(connection: duckdb.DuckDBPyConnection, path: Path) -> FileNote:
    """Return a file's note; an empty one of a file without.

    Raises
    ------
    duckdb.Error
        It is no Parquet file.
    """
    rows = connection.execute(
        "SELECT value FROM parquet_kv_metadata(?) WHERE key = ?", [str(path), _NOTE_KEY.encode()]
    ).fetchall()
    try:
        return _NOTE.decode(rows[0][0]) if rows else FileNote()
    except msgspec.MsgspecError:
        return FileNote()


def _columns(rows: list[TextRow]) -> dict[str, npt.NDArray[np.generic]]:
    payloads = [row.payload for row in rows]
    return {
        "id": _texts(row.id for row in rows),
        "started_us": np.array([row.started_at for row in rows], dtype=np.int64),
        "request": _texts(marked_request(p.request) for p in payloads),
        "cut": np.array([is_cut(p.request) for p in payloads], dtype=np.bool_),
        "response": _texts(p.response.decode("utf-8", "replace") for p in payloads),
        "request_truncated": np.array([p.request_truncated for p in payloads], dtype=np.bool_),
        "response_truncated": np.array([p.response_truncated for p in payloads], dtype=np.bool_),
        "response_type": _texts(p.response_type for p in payloads),
        "source": _texts(row.source for row in rows),
        "segment": _numbers(row.segment for row in rows),
        "byte_offset": _numbers(row.byte_offset for row in rows),
    }


def _texts(values: Iterable[str | None]) -> npt.NDArray[np.object_]:
    listed = list(values)
    array = np.empty(len(listed), dtype=np.object_)
    array[:] = listed
    return array


def _numbers(values: Iterable[int | None]) -> npt.NDArray[np.int64]:
    listed = list(values)
    return np.ma.array(
        [0 if value is None else value for value in listed],
        mask=[value is None for value in listed],
        dtype=np.int64,
    )


def merged_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return stretches in order, neighbours of one source joined."""
    joined: list[Span] = []
    for span in sorted(spans, key=msgspec.structs.astuple):
        last = joined[-1] if joined else None
        touches = last is not None and (last.source, last.to_segment, last.to_offset) >= (
            span.source,
            span.from_segment,
            span.from_offset,
        )
        if last is not None and touches and last.source == span.source:
            end = max((last.to_segment, last.to_offset), (span.to_segment, span.to_offset))
            joined[-1] = Span(last.source, last.from_segment, last.from_offset, *end)
        else:
            joined.append(span)
    return tuple(joined)
