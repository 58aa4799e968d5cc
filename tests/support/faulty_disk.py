"""A disk that fails as it is told to: the spool's system calls, each real where no fault is set."""

import errno
from pathlib import Path

from hypothesis import settings

from storage.disk import Disk

USUAL_EXAMPLES = 100


def examples(usual: int) -> int:
    """Return the examples of a state machine: `usual`, or what `--hypothesis-profile` says."""
    wanted = settings.default.max_examples if settings.default else usual
    return usual if wanted == USUAL_EXAMPLES else wanted


class FaultyDisk(Disk):
    """Passed to `Spool.open`.

    Attributes
    ----------
    room_bytes : int or None
        So many more bytes are taken, the last write short; then the disk is full. None: any.
    short_bytes : int or None
        The next write stops there; the one behind it goes on.
    broken_writes : int
        So many next writes fail with EIO.
    free : int or None
        What `free_bytes` says while there is room; None: the truth.
    can_cut, can_create, can_allocate, can_sync, can_sync_names : bool
        Whether files can be truncated, created, given space ahead, synced; directories synced.
    was_uncut : bool
        A truncation has failed: a piece of a frame may be left behind.
    synced_names : int
        Syncs of a directory that went well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.was_uncut = False
        self.synced_names = 0
        self.heal()

    def heal(self) -> None:
        """Let all go well again."""
        self.room_bytes: int | None = None
        self.short_bytes: int | None = None
        self.broken_writes = 0
        self.free: int | None = None
        self.can_cut = self.can_create = self.can_allocate = True
        self.can_sync = self.can_sync_names = True

    @property
    def is_sound(self) -> bool:
        """Whether no fault is set, but a write that stops short and goes on."""
        return (
            self.room_bytes is None
            and not self.broken_writes
            and self.can_cut
            and self.can_create
            and self.can_sync
        )

    def create(self, path: Path) -> int:
        if not self.can_create:
            raise OSError(errno.EMFILE, "told to create nothing", str(path))
        return super().create(path)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        if self.broken_writes:
            self.broken_writes -= 1
            raise OSError(errno.EIO, "told to fail")
        limit = len(data)
        if self.short_bytes is not None:
            limit, self.short_bytes = min(limit, max(1, self.short_bytes)), None
        if self.room_bytes is None:
            return super().write(descriptor, bytes(data[:limit]))
        limit = min(limit, self.room_bytes)
        if limit == 0:
            raise OSError(errno.ENOSPC, "told to be full")
        self.room_bytes -= limit
        return super().write(descriptor, bytes(data[:limit]))

    def truncate(self, descriptor: int, size: int) -> None:
        if not self.can_cut:
            self.was_uncut = True
            raise OSError(errno.EIO, "told to cut nothing")
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        if not self.can_sync:
            raise OSError(errno.EIO, "told to sync nothing")
        super().sync(descriptor)

    def sync_directory(self, directory: Path) -> None:
        if not self.can_sync_names:
            raise OSError(errno.EIO, "told to sync no names")
        super().sync_directory(directory)
        self.synced_names += 1

    def allocate(self, descriptor: int, start: int, length: int) -> bool:
        if not self.can_allocate or self.room_bytes is not None:
            return False
        return super().allocate(descriptor, start, length)

    def hold(self, path: Path, length: int) -> int:
        if self.room_bytes is not None:
            raise OSError(errno.ENOSPC, "told to be full", str(path))
        return super().hold(path, length)

    def free_bytes(self, directory: Path) -> int:
        if self.room_bytes is not None:
            return self.room_bytes
        return super().free_bytes(directory) if self.free is None else self.free
