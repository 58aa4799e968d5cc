"""What the archive answers."""

from typing import NamedTuple


class ArchiveStep(NamedTuple):
    """What one export did.

    Attributes
    ----------
    rows : int
        Facts written: predictions, attempts, feedback and inputs of models.
    files : int
        Files written.
    blocked : bool
        The database holds less than the archive: restore it first, nothing was written.
    """

    rows: int = 0
    files: int = 0
    blocked: bool = False


class ArchiveStatistics(NamedTuple):
    """State of the archive.

    Attributes
    ----------
    files, bytes, rows : int
        All files in force; rows are those of facts.
    batch : int
        Facts of this transaction and of those before it are in; -1: none.
    written_at : int
        Microseconds since the epoch of the last export; 0: never.
    """

    files: int
    bytes: int
    rows: int
    batch: int
    written_at: int


class Dropped(NamedTuple):
    """What no longer counts: files, their rows (of roll-ups, too) and bytes."""

    files: int
    rows: int
    bytes: int
