"""Reads the rows of a spool as it grows, each once."""

from pathlib import Path

from storage.frames import FrameKind, decode_end
from storage.records import End
from storage.segments import list_segments, read_frames


class SpoolRows:
    """The ENDs of a spool, in order; `read` costs only what is new."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[End] = []
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self) -> list[End]:
        """Return every row so far."""
        for segment in list_segments(self._folder):
            offset = self._offsets.get(segment.path, 0)
            while (found := read_frames(segment.path, offset)).frames:
                self.rows += [
                    decode_end(frame.payload, segment.schema_version)
                    for frame in found.frames
                    if frame.kind == FrameKind.END
                ]
                offset = found.next_offset
            self._offsets[segment.path] = offset
        return self.rows
