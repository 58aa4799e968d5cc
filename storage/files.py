"""Files that are whole or absent, also after a power cut."""

import os
from pathlib import Path

_SPLITS_PATHS = ",?\\"


def unaddressable(folder: Path) -> str | None:
    """Return the character for which DuckDB cannot address files of a folder; None: it can.

    A comma parts the folders of `file_search_path`, a question mark begins options, and a
    backslash counts as a slash.
    """
    return next((one for one in _SPLITS_PATHS if one in str(folder.resolve())), None)


def sync_file(path: Path) -> None:
    """Bring a file's bytes to the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def publish(partial: Path, path: Path) -> None:
    """Give a written file its name, in place of what has it; either is there at every moment."""
    sync_file(partial)
    partial.replace(path)
    sync_folder(path.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
