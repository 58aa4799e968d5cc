"""The writer's side of one segment file, and the bytes kept back for a full disk. All blocking."""

import errno
import fcntl
import os
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path

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

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or our share of it, is full."""
    return error.errno in _FULL


class SegmentFile:
    """One open segment, locked until it is closed.

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
    """

    def __init__(self, directory: Path, source: str, number: int, started_at: int) -> None:
        """Create the file `<source>-<number>.seg`, which must not exist.

        Raises
        ------
        OSError
            It cannot be created; nothing is left behind.
        """
        first_sequence = new_first_sequence(os.urandom(5))
        worker = source.rsplit("-", 2)[0]
        header = SegmentHeader(SCHEMA_VERSION, source, number, started_at, worker, first_sequence)
        self.path = directory / f"{source}-{number:06d}{SUFFIX}"
        self.started_at = started_at
        self.size_bytes = HEADER_BYTES
        self.encoder = FrameEncoder(first_sequence)
        self.frames = 0
        self.broken = False
        self._sync_failed = False
        self.descriptor = _created(self.path, encode_header(header))

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
        written = 0
        try:
            written = os.write(self.descriptor, batch)
            while written < len(batch):
                with memoryview(batch) as view, view[written:] as rest:
                    written += os.write(self.descriptor, rest)
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

    def _cut(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.size_bytes)
        except OSError:
            self.broken = True  # Readers find the frames behind the piece, or take it for torn.

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
            os.fdatasync(self.descriptor)
        except OSError:
            self._sync_failed = self.broken = True
            raise

    def close(self) -> None:
        """Close the file, which lets go of the lock."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # It is closed all the same, and the writes had their say.
                os.close(descriptor)


def _created(path: Path, header: bytes) -> int:
    # Readers take an unlocked segment for a finished one and may remove it, so the file gets its
    # name when it is locked and its header is whole.
    nameless = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(nameless, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.write(descriptor, header) < len(header):
            raise OSError(errno.ENOSPC, "no room for a segment's header", str(path))
        nameless.rename(path)
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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.held_bytes = 0

    def fill(self) -> bool:
        """Hold the space and return True, if as much again is free beside it."""
        if free_bytes(self._path.parent) < 2 * RESERVE_BYTES - self.held_bytes:
            return False
        if self.held_bytes:
            return True
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._path.unlink()
            os.posix_fallocate(self._descriptor, 0, RESERVE_BYTES)
        except OSError:
            self.release()
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


def free_bytes(directory: Path) -> int:
    """Return what this process may still write to a directory's disk; 0 if it cannot be told."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize
