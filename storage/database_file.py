"""A database's file by its name: whether it is still the one that was opened, and out of the way.

A process goes on writing to a file that was deleted under it, and nothing ever fails: only the
name tells.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from storage.errors import DatabaseFailed
from storage.files import sync_folder
from storage.times import to_timestamp

_MAGIC_OFFSET = 8
_MAGIC = b"DUCK"


class Identity(NamedTuple):
    """A file, whatever its name."""

    device: int
    inode: int


def identity_of(path: Path) -> Identity | None:
    """Return which file a name means now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def problem_of(path: Path, opened: Identity) -> str | None:
    """Return what became of a database file that was opened, in words; None: nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return "was deleted"
    except OSError:
        return None  # Out of descriptors, or of permissions: nothing is said of the file.
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != opened:
            return "was replaced by another file"
        if os.pread(descriptor, len(_MAGIC), _MAGIC_OFFSET) != _MAGIC:
            return "was overwritten: it does not begin as a DuckDB file does"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
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
