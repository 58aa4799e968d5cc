"""How much of the spool a database file has not seen."""

from pathlib import Path

from storage.database import Database
from storage.segments import list_segments
from storage.watermarks import load_watermarks


def spool_lag_bytes(database: Database, spool_dir: Path) -> int:
    """Return the bytes of segments behind the watermarks; 0 when there is no spool."""
    with database.cursor() as connection:
        marks = load_watermarks(connection)
    lag = 0
    for segment in list_segments(spool_dir):
        mark = marks.get(segment.source)
        if mark is None:
            lag += segment.size_bytes
        elif not mark.finished and segment.number >= mark.segment:
            read = mark.byte_offset if segment.number == mark.segment else 0
            lag += max(0, segment.size_bytes - read)
    return lag
