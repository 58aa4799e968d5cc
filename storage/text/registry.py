"""The registry of text files: rows of `payload_files` and `text_marks`, inside a transaction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from zlib import crc32

import duckdb

from storage.times import from_timestamp, to_timestamp

FileState = Literal["live", "retired", "gone", "damaged"]
_CRC_BYTES = 1 << 20
_COLUMNS = (
    'file, "rows", bytes, text_bytes, first_at, last_at, adopted, level, state, changed_at, crc32'
)


class TextFile(NamedTuple):
    """One file of the registry.

    Attributes
    ----------
    file : str
        `day=YYYY-MM-DD/<name>`.
    bytes, text_bytes : int
        On the disk; of the text in it, uncompressed.
    first_at, last_at : int
        Microseconds since the epoch of the first and last row's start.
    level : int
        As in `FileNote`.
    state : str
        `live`, `retired`, `gone` or `damaged`.
    changed_at : int
        When it got into that state.
    crc32 : int or None
        Of the whole file; None for files of older programs.
    """

    file: str
    rows: int
    bytes: int
    text_bytes: int
    first_at: int
    last_at: int
    level: int = 0
    adopted: bool = False
    state: FileState = "live"
    changed_at: int = 0
    crc32: int | None = None

    @property
    def day(self) -> str:
        """The UTC day of the rows, as `YYYY-MM-DD`."""
        return self.file[4:14]


class Mark(NamedTuple):
    """How far a source's text is in files.

    Attributes
    ----------
    batch : int
        No fact of an older batch has text behind the mark.
    """

    segment: int
    byte_offset: int
    batch: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Segment and byte offset."""
        return self.segment, self.byte_offset


def load_files(
    connection: duckdb.DuckDBPyConnection, *states: FileState, day: str | None = None
) -> list[TextFile]:
    """Return the files in some states (default: all), oldest rows first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM payload_files"  # noqa: S608 (names of this file)
        " WHERE (len($1) = 0 OR list_contains($1, state)) AND ($2 IS NULL OR day = $2::DATE)"
        " ORDER BY first_at, file",
        [list(states), day],
    ).fetchall()
    return [
        TextFile(
            file=row[0],
            rows=row[1],
            bytes=row[2],
            text_bytes=row[3],
            first_at=from_timestamp(row[4]),
            last_at=from_timestamp(row[5]),
            adopted=row[6],
            level=row[7],
            state=row[8],
            changed_at=from_timestamp(row[9]),
            crc32=row[10],
        )
        for row in rows
    ]


def register(connection: duckdb.DuckDBPyConnection, files: Sequence[TextFile]) -> None:
    """Name files, inside the caller's transaction."""
    for one in files:
        connection.execute(
            "INSERT INTO payload_files VALUES (?, ?::DATE, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                one.file,
                one.day,
                one.rows,
                one.bytes,
                one.text_bytes,
                to_timestamp(one.first_at),
                to_timestamp(one.last_at),
                one.adopted,
                one.level,
                one.state,
                to_timestamp(one.changed_at),
                one.crc32,
            ],
        )


def set_state(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], state: FileState, now_us: int
) -> None:
    """Change the state of files, inside the caller's transaction."""
    if names:
        connection.execute(
            "UPDATE payload_files SET state = ?, changed_at = ?"
            " WHERE file IN (SELECT unnest(?::VARCHAR[]))",
            [state, to_timestamp(now_us), list(names)],
        )


def forget_files(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Remove files from the registry."""
    if names:
        connection.execute(
            "DELETE FROM payload_files WHERE file IN (SELECT unnest(?::VARCHAR[]))", [list(names)]
        )


def load_marks(connection: duckdb.DuckDBPyConnection) -> dict[str, Mark]:
    """Return how far each source's text is in files."""
    rows = connection.execute(
        "SELECT source, segment, byte_offset, batch FROM text_marks"
    ).fetchall()
    return {source: Mark(*mark) for source, *mark in rows}


def save_marks(connection: duckdb.DuckDBPyConnection, marks: dict[str, Mark]) -> None:
    """Replace the marks of some sources, inside the caller's transaction."""
    for source, mark in marks.items():
        connection.execute("DELETE FROM text_marks WHERE source = ?", [source])
        connection.execute("INSERT INTO text_marks VALUES (?, ?, ?, ?)", [source, *mark])


def drop_marks(connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
    """Forget sources, inside the caller's transaction."""
    for source in sources:
        connection.execute("DELETE FROM text_marks WHERE source = ?", [source])


def describe(
    connection: duckdb.DuckDBPyConnection, path: Path, file: str, *, text_bytes: int, level: int
) -> TextFile:
    """Read from a file what the registry says of it.

    Raises
    ------
    duckdb.Error
        It cannot be read.
    OSError
        It is not there.
    ValueError
        It holds no row.
    """
    row = connection.execute(
        "SELECT count(*), min(started_at), max(started_at), min(id) FROM read_parquet(?)",
        [str(path)],
    ).fetchone()
    if row is None or not row[0]:
        raise ValueError(f"{path} holds no row")
    size, checksum = checksum_of(path)
    first_at, last_at = from_timestamp(row[1]), from_timestamp(row[2])
    return TextFile(
        file, row[0], size, text_bytes or 4 * size, first_at, last_at, level, crc32=checksum
    )


def checksum_of(path: Path) -> tuple[int, int]:
    """Return a file's size and the CRC-32 of its bytes."""
    size = checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_CRC_BYTES):
            size += len(piece)
            checksum = crc32(piece, checksum)
    return size, checksum
