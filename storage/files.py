"""Files that are whole or absent, also after a power cut."""

import os
from pathlib import Path


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
