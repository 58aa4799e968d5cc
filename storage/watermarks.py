"""How far each source of the spool has been read: the half of exactly once that is state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from storage.records import Begin

# The workers know watermarks, and load no database for them.
if TYPE_CHECKING:
    import duckdb


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A begin whose end has not been read, and where its frame stands in its source.

    Attributes
    ----------
    segment, byte_offset : int or None
        None if an older program read it.
    """

    begin: Begin
    segment: int | None = None
    byte_offset: int | None = None


_PENDING = msgspec.msgpack.Decoder(list[Pending])
_PENDING_BEFORE_3 = msgspec.msgpack.Decoder(list[Begin])


class Watermark(msgspec.Struct):
    """Where to read on in one source.

    Attributes
    ----------
    segment, byte_offset : int
        Segment number and the first byte of it that is not in the database.
    frames : int
        Frames of the source that have been read.
    pending : dict
        Begins, by id, whose ends have not been read.
    finished : bool
        The writer is gone and everything it wrote has been read.
    """

    source: str
    segment: int
    byte_offset: int = 0
    frames: int = 0
    pending: dict[str, Pending] = {}
    finished: bool = False

    def copy(self) -> "Watermark":
        """Return one that can be moved on without moving this one."""
        return msgspec.structs.replace(self, pending=dict(self.pending))


def load_watermarks(connection: "duckdb.DuckDBPyConnection") -> dict[str, Watermark]:
    """Read the watermarks, by source."""
    rows = connection.execute(
        "SELECT source, segment, byte_offset, frames, pending, finished FROM watermarks"
    ).fetchall()
    return {
        source: Watermark(source, segment, offset, frames, decode_pending(pending), finished)
        for source, segment, offset, frames, pending, finished in rows
    }


def decode_pending(data: bytes) -> dict[str, Pending]:
    """Return the open begins of a watermark, by id."""
    try:
        found = _PENDING.decode(data)
    except msgspec.ValidationError:
        found = [Pending(begin) for begin in _PENDING_BEFORE_3.decode(data)]
    return {one.begin.id: one for one in found}


def save_watermark(connection: "duckdb.DuckDBPyConnection", mark: Watermark) -> None:
    """Replace a source's watermark, inside the caller's transaction."""
    pending = msgspec.msgpack.encode(list(mark.pending.values()))
    connection.execute("DELETE FROM watermarks WHERE source = ?", [mark.source])
    connection.execute(
        "INSERT INTO watermarks VALUES (?, ?, ?, ?, ?, ?)",
        [mark.source, mark.segment, mark.byte_offset, mark.frames, pending, mark.finished],
    )


def drop_watermarks(connection: "duckdb.DuckDBPyConnection", sources: Sequence[str]) -> None:
    """Forget sources whose segments have been removed."""
    connection.execute(
        "DELETE FROM watermarks WHERE source IN (SELECT unnest(?::VARCHAR[]))", [list(sources)]
    )
