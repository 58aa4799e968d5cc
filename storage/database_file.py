"""A database's file by its name: whether it is still the one that was opened, and out of the way.

A process goes on writing to a file that was deleted under it, and nothing ever fails: only the
name tells.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

from storage.errors import DatabaseFailed
from storage.files import sync_folder
from storage.times import to_timestamp

_MAGIC_OFFSET = 8
_MAGIC = b"DUCK"


class OpenedFile:
    """A descriptor of the file that DuckDB has open: to read its head, to tell what becomes of it.

    It is closed after DuckDB's own: closing any descriptor of a file gives away the lock that
    the process holds on it (POSIX, `fcntl`), so nobody may open and close the path meanwhile.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._descriptor: int | None = None

    def open(self, path: Path) -> None:
        """Open it, if descriptors are left; else nobody looks at the file for now."""
        self._path = path
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close it: DuckDB has closed its own. Closing twice is allowed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file.

        Raises
        ------
        OSError
            It is not open, or cannot be read.
        """
        if self._descriptor is None:
            raise OSError(errno.EBADF, "not open", str(self._path))
        return os.pread(self._descriptor, size_bytes, 0)

    def problem(self) -> str | None:
        """Return what became of the file, in words; None: nothing."""
        if self._descriptor is None:
            return None
        try:
            if not os.path.samestat(self._path.stat(), os.fstat(self._descriptor)):
                return "was replaced by another file"
            if self.head(_MAGIC_OFFSET + len(_MAGIC))[_MAGIC_OFFSET:] != _MAGIC:
                return "was overwritten: it does not begin as a DuckDB file does"
        except FileNotFoundError:
            return "was deleted"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None


def wal_of(path: Path) -> Path:
    """Return where the write-ahead log of a database file is."""
    return path.with_name(path.name + ".wal")


def replace_file(path: Path, successor: Path) -> None:
    """Put another file in a database file's place; nobody has either open.

    Raises
    ------
    DatabaseFailed
        A write-ahead log is left.
    """
    wal = wal_of(path)
    if wal.exists():
        # It would be replayed into the file that takes the place.
        raise DatabaseFailed(f"{wal} could not be emptied; free space and try again")
    successor.replace(path)
    sync_folder(path.parent)


def set_aside(path: Path, now_us: int) -> Path:
    """Rename a database file and its write-ahead log, as far as they are there; return where."""
    stamp = to_timestamp(now_us).strftime("%Y%m%dT%H%M%S.%f")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    with suppress(FileNotFoundError):
        wal_of(path).replace(wal_of(aside))
    with suppress(FileNotFoundError):
        path.replace(aside)
    return aside
