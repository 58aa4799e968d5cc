"""The reader's side of the spool: which segments there are, and what they hold.

A segment is finished when it is sealed, or when its writer is gone and it has been read once more
since: ask `writer_is_gone` first and read to the end afterwards, never the other way round. A
source is finished when `source_is_gone` and all its segments have been read since.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from storage.frames import (
    FRAME_HEAD_BYTES,
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_FRAMES,
    TAG_OFFSET,
    Frame,
    FrameKind,
    decode_header,
    frame_head,
    is_sound,
    sound_frames,
    tag_of,
)

SUFFIX = ".seg"
SegmentState = Literal["more", "tail", "sealed", "corrupt"]

_NAME = re.compile(
    r"(?P<source>(?P<worker>.+)-(?P<started_at>[0-9a-f]+)-[0-9]+)-(?P<number>[0-9]{6,})\.seg"
)
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512
_SPARE_BYTES = 65_536
_SEAL_MAX_BYTES = FRAME_HEAD_BYTES + 32


class SegmentInfo(NamedTuple):
    """One segment file.

    Attributes
    ----------
    path : Path
        The file.
    source : str
        One writer's segments share it.
    number : int
        Order within the source.
    worker : str
        Name of the worker that writes it.
    started_at : int
        Microseconds since the epoch; of the source if the header is unreadable.
    schema_version : int
        Of the writer; 0 if the header is unreadable.
    size_bytes : int
        When it was listed.
    """

    path: Path
    source: str
    number: int
    worker: str
    started_at: int
    schema_version: int
    size_bytes: int


class SegmentRead(NamedTuple):
    """What one look into a segment found.

    Attributes
    ----------
    frames : list of Frame
        Whole frames with the right CRC, in order; of unknown types as well.
    next_offset : int
        Where to read on.
    state : str
        `more`: the limit was reached. `tail`: all that is whole was read, and the file ends in
        nothing or in a piece of a frame. `sealed`: all was read, nothing will follow. `corrupt`:
        no frame is found from `next_offset` to the end; a live writer may still append some.
    skipped_bytes, skipped_regions : int
        Damage that was passed over to reach `next_offset`.
    unread_bytes : int
        From `next_offset` to the end of the file: with state `tail` or `corrupt` they are lost
        once the writer is gone.
    """

    frames: list[Frame]
    next_offset: int
    state: SegmentState
    skipped_bytes: int = 0
    skipped_regions: int = 0
    unread_bytes: int = 0


class SegmentIndex:
    """Lists a directory's segments again and again: what a name says, and a header, is kept.

    Parameters
    ----------
    directory : Path
        Of the segments; it may not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, SegmentInfo] = {}

    def list(self, source: str | None = None) -> list[SegmentInfo]:
        """Return the segments, of one source or of all, ordered by source and number.

        A segment that cannot be opened is listed like one whose header is unreadable.
        """
        try:
            with os.scandir(self._directory) as entries:
                named = {
                    entry.name: entry
                    for entry in entries
                    if entry.name.endswith(SUFFIX)
                    and (source is None or entry.name.startswith(source))
                }
        except FileNotFoundError:
            return []
        if source is None:
            self._known = {name: info for name, info in self._known.items() if name in named}
        found = [self._info(name, entry) for name, entry in named.items()]
        return sorted(
            (info for info in found if info is not None and source in {None, info.source}),
            key=lambda segment: (segment.source, segment.number),
        )

    def _info(self, name: str, entry: os.DirEntry[str]) -> SegmentInfo | None:
        try:
            size_bytes = entry.stat().st_size
        except FileNotFoundError:
            return None  # Removed since it was listed.
        except OSError:
            size_bytes = 0
        known = self._known.get(name)
        if known is None:
            match = _NAME.fullmatch(name)
            if match is None:
                return None
            known = _segment_info(self._directory / name, match)
        if known.size_bytes != size_bytes:
            known = known._replace(size_bytes=size_bytes)
        if known.schema_version:
            # A file gets its name when its header is whole, and no name is used twice.
            self._known[name] = known
        return known


def list_segments(directory: Path) -> list[SegmentInfo]:
    """Return the segments in a directory, ordered by source and number; [] if there is none."""
    return SegmentIndex(directory).list()


def _segment_info(path: Path, match: re.Match[str]) -> SegmentInfo:
    header = None
    with suppress(OSError), _opened(path) as descriptor:
        header = decode_header(os.pread(descriptor, HEADER_BYTES, 0))
    return SegmentInfo(
        path=path,
        source=match["source"],
        number=int(match["number"]),
        worker=match["worker"],
        started_at=header.started_at if header else int(match["started_at"], 16),
        schema_version=header.schema_version if header else 0,
        size_bytes=0,
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _Reader:
    """Frames of one open segment by offset; its time is linear in the bytes passed."""

    def __init__(self, descriptor: int, size: int, first_sequence: int) -> None:
        self._descriptor = descriptor
        self._first_sequence = first_sequence
        self._tag = tag_of(first_sequence)
        self._chunk = b""
        self._chunk_at = 0
        self.size = size

    def _bytes(self, at: int, length: int) -> tuple[bytes, int]:
        """Return a buffer and where `at` lies in it; shorter only where the file ends."""
        inside = at - self._chunk_at
        if inside < 0 or inside + length > len(self._chunk):
            self._chunk = os.pread(self._descriptor, max(length, _CHUNK_BYTES), at)
            self._chunk_at = at
            inside = 0
        return self._chunk, inside

    def run(self, at: int, limit_at: int) -> list[Frame]:
        """Return the sound frames from an offset on that the buffer holds: most of a segment."""
        data, inside = self._bytes(at, FRAME_HEAD_BYTES)
        if self._chunk_at + len(data) > self.size:
            data = data[: max(0, self.size - self._chunk_at)]
        limit = limit_at - self._chunk_at
        return sound_frames(data, self._chunk_at, self._first_sequence, limit, start=inside)

    def frame(self, at: int) -> Frame | Literal["piece", "damage"]:
        """Return the frame at an offset, or why there is none."""
        if self.size - at < FRAME_HEAD_BYTES:
            return "piece"
        data, inside = self._bytes(at, FRAME_HEAD_BYTES)
        if len(data) - inside < FRAME_HEAD_BYTES:
            return "piece"
        head = frame_head(data, inside)
        numbered = 0 <= head.sequence - self._first_sequence < MAX_FRAMES
        if not numbered or head.size > MAX_FRAME_BYTES:
            return "damage"
        end = at + head.size
        if end > self.size:
            return "piece"
        data, inside = self._bytes(at, head.size)
        if not is_sound(data, inside, head):
            return "damage"
        payload = data[inside + FRAME_HEAD_BYTES : inside + head.size]
        return Frame(head.kind, head.sequence, payload, at, end)

    def frame_after(self, at: int) -> Frame | None:
        """Return the first sound frame that starts behind an offset."""
        search = at + 1 + TAG_OFFSET
        while search < self.size:
            data, inside = self._bytes(search, min(len(self._tag), self.size - search))
            if inside >= len(data):
                return None  # Cut short since its size was asked.
            hit = data.find(self._tag, inside)
            if hit < 0:
                # A tag may lie across the border of two chunks.
                search = max(search + 1, self._chunk_at + len(data) - len(self._tag) + 1)
                continue
            search = self._chunk_at + hit
            found = self.frame(search - TAG_OFFSET)
            if isinstance(found, Frame):
                return found
            search += 1
        return None

    def forget(self) -> None:
        """Read from the file again, not from the buffer."""
        self._chunk = b""

    def is_sealed(self) -> bool:
        """Whether the file ends in a SEAL frame."""
        first = max(HEADER_BYTES, self.size - _SEAL_MAX_BYTES)
        for at in range(first, self.size - FRAME_HEAD_BYTES + 1):
            found = self.frame(at)
            if isinstance(found, Frame) and found.end_offset == self.size:
                return found.kind == FrameKind.SEAL
        return False


def read_frames(path: Path, offset: int = 0, limit_bytes: int = 8 << 20) -> SegmentRead:
    """Return the frames of a segment from an offset on.

    Parameters
    ----------
    path : Path
        The segment.
    offset : int
        `next_offset` of the read before; 0 is the beginning.
    limit_bytes : int
        Reading stops behind the frame that reaches it, so one frame is always returned.

    Raises
    ------
    FileNotFoundError
        The segment was removed.
    """
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        header = decode_header(os.pread(descriptor, HEADER_BYTES, 0))
        if header is None or size < HEADER_BYTES:
            state: SegmentState = "tail" if size < HEADER_BYTES else "corrupt"
            return SegmentRead([], offset, state, unread_bytes=size - offset)
        reader = _Reader(descriptor, size, header.first_sequence)
        return _read(reader, max(offset, HEADER_BYTES), limit_bytes)


def _read(reader: _Reader, offset: int, limit_bytes: int) -> SegmentRead:
    frames: list[Frame] = []
    at = offset
    skipped_bytes = skipped_regions = 0
    state: SegmentState = "more"
    while True:
        if at >= reader.size:
            state = "sealed" if reader.is_sealed() else "tail"
            break
        if at - offset >= limit_bytes:
            break
        run = reader.run(at, offset + limit_bytes)
        if run:
            frames += run
            at = run[-1].end_offset
            continue
        found = reader.frame(at)
        if not isinstance(found, Frame):
            sound = _resynchronised(reader, at)
            if sound is None:
                state = "tail" if found == "piece" else "corrupt"
                break
            skipped_bytes += sound.offset - at
            skipped_regions += sound.offset > at
            found = sound
        frames.append(found)
        at = found.end_offset
    unread_bytes = max(0, reader.size - at)
    return SegmentRead(frames, at, state, skipped_bytes, skipped_regions, unread_bytes)


def _resynchronised(reader: _Reader, at: int) -> Frame | None:
    behind = reader.frame_after(at)
    if behind is None:
        return None
    # A writer that repaired a short write may have changed the bytes while they were read.
    reader.forget()
    again = reader.frame(at)
    return again if isinstance(again, Frame) else behind


def writer_is_gone(path: Path) -> bool:
    """Whether nobody will append to a segment: its writer holds a lock as long as it lives."""
    try:
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def source_is_gone(directory: Path, source: str) -> bool:
    """Whether a source gets no more segments or frames: all there will ever be is in its files.

    A writer opens the next segment before it lets go of the last, so a free lock alone may mean
    that it has just moved on: only a list made after the lock was found free can tell.
    """
    index = SegmentIndex(directory)
    while True:
        before = index.list(source)
        if not before:
            return True
        if not writer_is_gone(before[-1].path):
            return False
        after = index.list(source)
        if not after or after[-1].number == before[-1].number:
            return True


def remove_segment(path: Path) -> bool:
    """Remove a segment, unless its writer lives; return whether it is gone."""
    if not writer_is_gone(path):
        return False
    path.unlink(missing_ok=True)
    return True


def give_back(path: Path) -> bool:
    """Free the space behind a segment's end that its writer held and died with.

    Returns
    -------
    bool
        True if there was some; False also while the writer lives, who fills it.
    """
    if not writer_is_gone(path):
        return False
    try:
        found = path.stat()
        spare = found.st_blocks * _BLOCK_BYTES - found.st_size
        if spare < _SPARE_BYTES:
            return False
        os.truncate(path, found.st_size)  # Frees the blocks behind the end, changes no byte.
    except OSError:
        return False
    return True
