"""How full the spool is: what workers must know of a directory that only the ingest reads.

The ingest leaves behind how far it has read, the workers compare that with the segments. It holds
when the ingest is dead, too: then nothing is read, and what waits grows.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from storage.segments import SegmentIndex
from storage.watermarks import Watermark

FILE_NAME = "read-to"
PUBLISH_US = 1_000_000
"""The file is written at most so often."""


class ReadTo(msgspec.Struct, frozen=True, array_like=True):
    """How far one source has been read."""

    segment: int
    byte_offset: int
    finished: bool


_DECODER = msgspec.msgpack.Decoder(dict[str, ReadTo])


class SpoolUsage(NamedTuple):
    """What the directory holds.

    Attributes
    ----------
    segments : int
        Files, read ones that are still kept included.
    size_bytes : int
        Their size.
    unread_bytes : int
        Of them, what is not in the database.
    """

    segments: int
    size_bytes: int
    unread_bytes: int


class MarkFile:
    """The ingest's side: leaves its watermarks in the spool's directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._written: bytes | None = None
        self._written_at: int | None = None

    def publish(self, marks: Mapping[str, Watermark], now_us: int) -> None:
        """Write them if they moved, at most once in `PUBLISH_US`; never raises.

        A file that could not be written is behind, so that what waits seems more than it is, and
        is tried again.
        """
        if self._written_at is not None and 0 <= now_us - self._written_at < PUBLISH_US:
            return
        self._written_at = now_us
        data = msgspec.msgpack.encode(
            {
                source: ReadTo(mark.segment, mark.byte_offset, mark.finished)
                for source, mark in marks.items()
            }
        )
        if data == self._written:
            return
        new = self._path.with_suffix(".new")
        try:
            new.write_bytes(data)
            new.replace(self._path)
        except OSError:
            self._written = None
            with suppress(OSError):
                new.unlink()
            return
        self._written = data


class SpoolLevel:
    """A worker's side: measures the directory. Blocks; call it in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        self._index = SegmentIndex(directory)
        self._path = directory / FILE_NAME

    def measure(self) -> SpoolUsage:
        """Look at all segments: one `stat` each."""
        marks = self._marks()
        segments = self._index.list()
        size_bytes = unread_bytes = 0
        for segment in segments:
            size_bytes += segment.size_bytes
            mark = marks.get(segment.source)
            if mark is None:
                unread_bytes += segment.size_bytes
            elif not mark.finished and segment.number >= mark.segment:
                read_bytes = mark.byte_offset if segment.number == mark.segment else 0
                unread_bytes += max(0, segment.size_bytes - read_bytes)
        return SpoolUsage(len(segments), size_bytes, unread_bytes)

    def _marks(self) -> dict[str, ReadTo]:
        try:
            return _DECODER.decode(self._path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return {}  # Nothing was read yet, as far as anybody knows.
