"""A whole, consistent copy of a data directory, made while it is in use.

To restore one, copy it and point `gateway.data_dir` at the copy. It holds the database of one
moment, the files of text and archive that belong to it, and the spool behind it: what was written
to the spool after that moment is read in when the copy is first served. Requests that were being
answered while the backup was made are `interrupted` in it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from storage.database import (
    ARCHIVE_FOLDER,
    FILE_NAME,
    PAYLOADS_FOLDER,
    Database,
)
from storage.errors import DatabaseFailed
from storage.files import sync_file, sync_folder
from storage.lifecycle.copies import copies_folder, copy_database, remove_copy
from storage.lifecycle.sizes import files_below
from storage.segments import SegmentInfo, list_segments
from storage.times import to_timestamp

SPOOL_FOLDER = "spool"
MANIFEST = "backup.json"


class Backup(msgspec.Struct, frozen=True):
    """A backup that was made: its folder, when, rows of facts, bytes on disk."""

    folder: str
    at: int
    predictions: int
    bytes: int
    version: int = 1


def make_backup(database: Database, now_us: int) -> Backup:
    """Make a backup in the data directory's folder of copies; nobody waits for it.

    Files that never change are linked, not copied, so it costs the size of the database file.
    Whoever asked moves it to its place with `take_backup`.

    Raises
    ------
    DatabaseFailed
        There is no room, or a file cannot be written; nothing is left behind.
    """
    stamp = to_timestamp(now_us).strftime("%Y%m%dT%H%M%S.%f")
    folder = copies_folder(database, now_us) / f"backup-{stamp}"
    source = database.data_dir
    try:
        folder.mkdir()
        # The archive may lag behind the database, but never lead; a segment goes only when it is
        # archived. Text and spool are taken twice: what rows point to comes and goes meanwhile.
        _take_segments(source / SPOOL_FOLDER, folder / SPOOL_FOLDER)
        _link_files(source, folder, ARCHIVE_FOLDER)
        _link_files(source, folder, PAYLOADS_FOLDER)
        rows = copy_database(database, folder / FILE_NAME)
        _link_files(source, folder, PAYLOADS_FOLDER)
        _take_segments(source / SPOOL_FOLDER, folder / SPOOL_FOLDER)
        size = sum(one for _, one in files_below(folder))
        made = Backup(str(folder), now_us, rows["predictions"], size)
        (folder / MANIFEST).write_bytes(msgspec.json.encode(made))
        _sync_all(folder)
    except OSError as error:
        remove_copy(folder)
        raise DatabaseFailed(f"the backup {folder} could not be written: {error}") from error
    except BaseException:
        remove_copy(folder)
        raise
    return made


def take_backup(made: Path, target: Path) -> None:
    """Move a backup out of the data directory, to a folder that does not exist yet.

    Raises
    ------
    DatabaseFailed
        The target exists or cannot be written; the backup is where it was.
    """
    if target.exists():
        raise DatabaseFailed(f"{target} exists; name a new folder for the backup")
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.stat().st_dev == target.parent.stat().st_dev:
            made.rename(target)
        else:
            shutil.copytree(made, partial)
            _sync_all(partial)
            partial.rename(target)
            remove_copy(made)
        sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DatabaseFailed(f"{target} could not be written: {error}") from error


def _link_files(source: Path, target: Path, name: str) -> None:
    # Lists first: the files that a list names stay longer than the list.
    found = sorted(files_below(source / name), key=lambda one: one[0].suffix != ".json")
    for path, _ in found:
        place = target / path.relative_to(source)
        if path.suffix == ".tmp" or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # Merged into another since it was listed.
            _link(path, place)


def _link(path: Path, place: Path) -> None:
    try:
        os.link(path, place)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, place)  # A file system without links.


def _take_segments(source: Path, target: Path) -> None:
    """Link the segments that are full, copy those that may still be written to."""
    target.mkdir(exist_ok=True)
    for segment, is_last in _with_last(list_segments(source)):
        place = target / segment.path.name
        try:
            if is_last:
                shutil.copyfile(segment.path, place)
            elif not place.exists() or place.stat().st_ino != segment.path.stat().st_ino:
                place.unlink(missing_ok=True)
                _link(segment.path, place)
        except FileNotFoundError:
            continue  # Removed since it was listed: the archive has it.


def _with_last(segments: list[SegmentInfo]) -> Iterator[tuple[SegmentInfo, bool]]:
    """Yield each segment, and whether it is its source's last: only that one grows."""
    last = {segment.source: segment.number for segment in segments}
    for segment in segments:
        yield segment, segment.number == last[segment.source]


def _sync_all(folder: Path) -> None:
    folders = {folder}
    for path, _ in files_below(folder):
        sync_file(path)
        folders.add(path.parent)
    for one in folders:
        sync_folder(one)
