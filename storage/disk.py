"""The system calls of the spool's writer: one seam, so that tests can pass a disk that fails."""

import ctypes
import errno
import fcntl
import os
from pathlib import Path

_FALLOC_FL_KEEP_SIZE = 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or our share of it, is full."""
    return error.errno in _FULL


class Disk:
    """The real one. All methods block, and raise `OSError` where they do not say otherwise."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
        if call is not None:
            call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        self._fallocate = call

    def create(self, path: Path) -> int:
        """Create a file for appending, which must not exist, and lock it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> int:
        """Append bytes and return how many of them are in the file."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file, and give back what is allocated behind its end."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Bring a file's bytes to the disk."""
        os.fdatasync(descriptor)

    def sync_directory(self, directory: Path) -> None:
        """Bring the names in a directory to the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def allocate(self, descriptor: int, start: int, length: int) -> bool:
        """Allocate space behind a file's end, whose size stays; False if it cannot be had."""
        if self._fallocate is None:
            return False
        return bool(self._fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, start, length) == 0)

    def hold(self, path: Path, length: int) -> int:
        """Return a file without a name that holds as many bytes of space."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            path.unlink()
            os.posix_fallocate(descriptor, 0, length)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def free_bytes(self, directory: Path) -> int:
        """Return what this process may still write to a directory's disk; 0 if unknown."""
        try:
            disk = os.statvfs(directory)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize
