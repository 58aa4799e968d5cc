"""The writer's side of one segment file, and the bytes kept back for a full disk. All blocking."""

import errno
import os
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path

from storage.disk import Disk, is_full
from storage.frames import (
    HEADER_BYTES,
    FrameEncoder,
    FrameKind,
    Seal,
    SegmentHeader,
    encode_header,
    new_first_sequence,
)
from storage.records import SCHEMA_VERSION
from storage.segments import SUFFIX

RESERVE_BYTES = 1 << 20
"""Kept back for the facts of requests that are under way when the disk fills up."""

CHUNK_BYTES = 4 << 20
"""Space is taken in pieces of this size, ahead of the frames that fill it."""

_MIN_CHUNK_BYTES = 64 << 10
_SHARE_OF_FREE = 16


class SegmentFile:
    """One open segment, locked until it is closed.

    Parameters
    ----------
    directory : Path
        Of the segments.
    source : str
        Name of the writer's source.
    number, started_at : int
        Order in the source; microseconds since the epoch.
    disk : Disk
        Through which it is written.
    room_bytes : int
        Size up to which space is taken ahead; 0: none is.

    Attributes
    ----------
    path : Path
        The file.
    started_at : int
        Microseconds since the epoch.
    size_bytes : int
        With the header; always at the border of a frame.
    encoder : FrameEncoder
        Numbers the frames of this segment.
    frames : int
        Frames in the file.
    broken : bool
        It failed for another reason than a full disk: go on in a new segment.

    Raises
    ------
    OSError
        The file `<source>-<number>.seg` cannot be created, or exists; nothing is left behind.
    """

    def __init__(
        self,
        directory: Path,
        source: str,
        number: int,
        started_at: int,
        *,
        disk: Disk,
        room_bytes: int = 0,
    ) -> None:
        first_sequence = new_first_sequence(os.urandom(5))
        worker = source.rsplit("-", 2)[0]
        header = SegmentHeader(SCHEMA_VERSION, source, number, started_at, worker, first_sequence)
        self.path = directory / f"{source}-{number:06d}{SUFFIX}"
        self.started_at = started_at
        self.size_bytes = HEADER_BYTES
        self.encoder = FrameEncoder(first_sequence)
        self.frames = 0
        self.broken = False
        self._disk = disk
        self._room_bytes = room_bytes
        self._ask_at = HEADER_BYTES if room_bytes else 1 << 62
        self._held_to = 0
        self._sync_failed = False
        self._uncut = False
        self.descriptor = self._created(encode_header(header))

    @property
    def spare_bytes(self) -> int:
        """Space that is held behind the last frame."""
        return max(0, self._held_to - self.size_bytes)

    def append(self, batch: bytearray, ends: list[int]) -> int:
        """Write frames in one `write(2)` and return how many of them are in the file.

        A write that stops inside a frame is taken back to the frame's border, and the numbers of
        the frames that are not in the file are given out again.

        Parameters
        ----------
        batch : bytearray
            The frames, numbered by `encoder`.
        ends : list of int
            Where each ends in `batch`.
        """
        if self.size_bytes + len(batch) > self._ask_at:
            self._take_space(self.size_bytes + len(batch))
        write = self._disk.write
        written = 0
        try:
            written = write(self.descriptor, batch)
            while written < len(batch):
                with memoryview(batch) as view, view[written:] as rest:
                    written += write(self.descriptor, rest)
        except OSError as error:
            self.broken = not is_full(error)
        whole = len(ends) if written == len(batch) else bisect_right(ends, written)
        border = ends[whole - 1] if whole else 0
        self.size_bytes += border
        self.frames += whole
        self.encoder.next_sequence -= len(ends) - whole
        if written > border:
            self._cut()
        return whole

    def _take_space(self, end: int) -> None:
        """Hold the next chunk: fewer extents, cheaper syncs, and nobody else fills it."""
        free = self._disk.free_bytes(self.path.parent)
        chunk = min(CHUNK_BYTES, free // _SHARE_OF_FREE, self._room_bytes - end)
        self._ask_at = end + max(chunk, _MIN_CHUNK_BYTES)
        if chunk < _MIN_CHUNK_BYTES:
            return
        start = max(self.size_bytes, self._held_to)
        if self._disk.allocate(self.descriptor, start, self._ask_at - start):
            self._held_to = self._ask_at

    def _cut(self) -> None:
        self._held_to = 0
        try:
            self._disk.truncate(self.descriptor, self.size_bytes)
        except OSError:
            # Readers find the frames behind the piece, or take it for torn.
            self.broken = self._uncut = True

    def seal(self, at: int) -> bool:
        """Write the last frame; return False if there was no room, which readers can tell."""
        batch = bytearray()
        end = self.encoder.append(batch, FrameKind.SEAL, Seal(at, self.frames))
        return self.append(batch, [end]) == 1

    def sync(self) -> None:
        """Bring what is written to the disk.

        Raises
        ------
        OSError
            It failed. The kernel may have dropped what it could not write and reports that once,
            so a later call tries nothing.
        """
        if self._sync_failed:
            return
        try:
            self._disk.sync(self.descriptor)
        except OSError:
            self._sync_failed = self.broken = True
            raise

    def close(self) -> None:
        """Give back the space that is left and close the file, which lets go of the lock."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        if self.spare_bytes or self._uncut:
            with suppress(OSError):  # `segments.give_back` does it later.
                self._disk.truncate(descriptor, self.size_bytes)
        with suppress(OSError):  # It is closed all the same, and the writes had their say.
            os.close(descriptor)

    def _created(self, header: bytes) -> int:
        # Readers take an unlocked segment for a finished one and may remove it, so the file gets
        # its name when it is locked and its header is whole.
        nameless = self.path.with_suffix(".new")
        descriptor = self._disk.create(nameless)
        try:
            if self._disk.write(descriptor, header) < len(header):
                raise OSError(errno.ENOSPC, "no room for a segment's header", str(self.path))
            nameless.rename(self.path)
        except OSError:
            os.close(descriptor)
            nameless.unlink(missing_ok=True)
            raise
        return descriptor


class Reserve:
    """Disk space that is held without a name, so that it is free when the process is gone.

    Attributes
    ----------
    held_bytes : int
        `RESERVE_BYTES` or 0.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._descriptor = -1
        self.held_bytes = 0

    def fill(self) -> bool:
        """Hold the space and return True, if as much again is free beside it."""
        if self._disk.free_bytes(self._path.parent) < 2 * RESERVE_BYTES - self.held_bytes:
            return False
        if self.held_bytes:
            return True
        try:
            self._descriptor = self._disk.hold(self._path, RESERVE_BYTES)
        except OSError:
            return False
        self.held_bytes = RESERVE_BYTES
        return True

    def release(self) -> bool:
        """Give the space away; False if there was none."""
        had_some = self.held_bytes > 0
        self.held_bytes = 0
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        return had_some
