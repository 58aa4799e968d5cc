"""The list of an archive's files: replaced as a whole, so that an archive is one moment.

Files are immutable and named once; a catalog names those that count. Its replacement is the
commit of an export. The catalog before it is kept for the case that this one is damaged, and
with it its files, which gives readers of the old list the time until the next export.
"""

import logging
import os
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from storage.files import publish, sync_folder
from storage.watermarks import Watermark

log = logging.getLogger(__name__)

FACTS_CATALOG = "catalog.json"
STATE_CATALOG = "state.json"
FACTS_KINDS = ("facts", "rollup", "snapshot")
FORMAT = 1
_BLOCK_BYTES = 1 << 20


class ArchiveFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Parquet file.

    Attributes
    ----------
    name : str
        Path below the archive's folder.
    table : str
        Table whose rows these are.
    day : str
        UTC day of all rows, `YYYY-MM-DD`; empty where a table is one file.
    rows, bytes : int
        Size.
    checksum : int
        CRC32 of the file's bytes.
    fingerprint : str
        What the rows were when they were written, to tell whether they changed.
    """

    name: str
    table: str
    day: str
    rows: int
    bytes: int
    checksum: int
    fingerprint: str = ""


class Catalog(msgspec.Struct, frozen=True):
    """What is in an archive.

    Attributes
    ----------
    schema_version : int
        Schema of the database that was exported.
    generation : int
        Number of this catalog, rising.
    batch : int
        Every row of this transaction and of those before it is here; -1: none.
    written_at : int
        Microseconds since the epoch.
    facts_from : int
        Microseconds since the epoch: what started before has expired and is not restored.
    marks : dict
        Source to how far the spool is in, at the moment of the export.
    counters : dict
        Rows of `log_state`, of that moment.
    tables : dict
        Table to the statement that makes it: tables of model inputs are not in the schema.
    """

    schema_version: int = 0
    generation: int = 0
    batch: int = -1
    written_at: int = 0
    facts_from: int = 0
    files: tuple[ArchiveFile, ...] = ()
    marks: dict[str, Watermark] = {}
    counters: dict[str, int] = {}
    tables: dict[str, str] = {}

    def of(self, table: str) -> list[ArchiveFile]:
        """Return the files of a table, by day and then by age."""
        return sorted((f for f in self.files if f.table == table), key=lambda f: (f.day, f.name))


EMPTY = Catalog()


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    crc32: int
    catalog: msgspec.Raw


def load_catalog(path: Path) -> Catalog | None:
    """Read a catalog, or the one before it where it is damaged; None where there is none."""
    for candidate in (path, _previous(path)):
        found = _read(candidate)
        if found is not None:
            return found
    return None


def is_unreadable(path: Path) -> bool:
    """Whether there is a catalog, and neither it nor the one before it can be read."""
    exists = path.exists() or _previous(path).exists()
    return exists and load_catalog(path) is None


def set_facts_aside(folder: Path, now_us: int) -> Path:
    """Move the facts of an archive out of the way, for somebody to look at; return where to."""
    aside = folder / f"aside-{now_us}"
    aside.mkdir(parents=True)
    path = folder / FACTS_CATALOG
    for entry in (path, _previous(path), *(folder / kind for kind in FACTS_KINDS)):
        if entry.exists():
            entry.rename(aside / entry.name)
    sync_folder(folder)
    return aside


def remove_asides(folder: Path) -> None:
    """Remove what was set aside: nobody can say any more whose rows are in it."""
    for aside in folder.glob("aside-*"):
        log.warning("%s may hold rows that must be forgotten; it is removed", aside)
        shutil.rmtree(aside)


def save_catalog(path: Path, catalog: Catalog, *, keep_previous: bool = True) -> None:
    """Replace a catalog; without the previous one, nothing names its files any more.

    Raises
    ------
    OSError
        The disk is full or gone; the old catalog is in force.
    """
    content = msgspec.json.encode(catalog)
    envelope = msgspec.json.encode(_Envelope(FORMAT, zlib.crc32(content), msgspec.Raw(content)))
    partial = path.with_suffix(".tmp")
    if keep_previous and _read(path) is not None:
        partial.unlink(missing_ok=True)
        os.link(path, partial)
        partial.replace(_previous(path))
    partial.write_bytes(envelope)
    publish(partial, path)
    if not keep_previous:
        _previous(path).unlink(missing_ok=True)
        sync_folder(path.parent)


def take_whole(path: Path) -> Catalog | None:
    """Return what to restore from: the newest catalog, or the one before it where it costs less.

    The one before it is taken, and put in force, if files of the newest are damaged and none of
    its own is: what came between is still in the segments, see `safe_marks`.

    Raises
    ------
    OSError
        The disk is full or gone.
    """
    newest, before = load_catalog(path), _read(_previous(path))
    if newest is None or before is None or before == newest:
        return newest
    folder = path.parent
    damaged = [file.name for file in newest.files if not is_sound(folder, file)]
    if not damaged or not all(is_sound(folder, file) for file in before.files):
        return newest
    log.error("damaged in the archive: %s; going on from the export before", ", ".join(damaged))
    taken = msgspec.structs.replace(before, generation=newest.generation + 1)
    save_catalog(path, taken, keep_previous=False)
    return taken


def safe_marks(path: Path) -> dict[str, Watermark]:
    """Return how far the spool is in, even if the newest catalog is lost to one damaged byte."""
    found = _read(_previous(path)) or load_catalog(path)
    return {} if found is None else found.marks


def named_files(path: Path) -> set[str]:
    """Return the files that a catalog or the one before it names."""
    found = (_read(path), _read(_previous(path)))
    return {file.name for catalog in found if catalog is not None for file in catalog.files}


def sweep(folder: Path, kind: str, named: set[str]) -> None:
    """Remove what no catalog names: replaced files, and left-overs of an export that died."""
    for path in (folder / kind).rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in named:
            path.unlink(missing_ok=True)
    for path in (folder / kind).glob("*"):
        with suppress(OSError):  # It has files.
            path.rmdir()


def read_files(folder: Path, files: Sequence[ArchiveFile], options: str = "") -> str:
    """Return what follows FROM to read files as one table."""
    listed = ", ".join("'" + str(folder / file.name).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false{', ' if options else ''}{options})"


def checksum_of(path: Path) -> int:
    """Return the CRC32 of a file's bytes."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def is_sound(folder: Path, file: ArchiveFile) -> bool:
    """Whether a file has the bytes that it was written with."""
    path = folder / file.name
    try:
        return path.stat().st_size == file.bytes and checksum_of(path) == file.checksum
    except OSError:
        return False


def _read(path: Path) -> Catalog | None:
    try:
        envelope = msgspec.json.decode(path.read_bytes(), type=_Envelope)
        if envelope.format != FORMAT or zlib.crc32(envelope.catalog) != envelope.crc32:
            return None
        return msgspec.json.decode(envelope.catalog, type=Catalog)
    except (OSError, msgspec.MsgspecError):
        return None


def _previous(path: Path) -> Path:
    return path.with_suffix(".previous.json")
