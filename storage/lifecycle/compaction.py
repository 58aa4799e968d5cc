"""Giving disk space back: the file's live rows in a new file that takes its place."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import msgspec

from storage.database import FILE_NAME, Database
from storage.errors import DatabaseFailed
from storage.lifecycle.copies import (
    copies_folder,
    copy_database,
    remove_copy,
    state_of,
    usage,
)

Pause = Callable[[], AbstractContextManager[object]]
_TRIES = 3


class Compaction(msgspec.Struct, frozen=True):
    """What a compaction did: bytes of the file (and its log) before and after, copies made."""

    before_bytes: int
    after_bytes: int
    tries: int
    version: int = 1


def compact(database: Database, *, now_us: int, pause: Pause) -> Compaction:
    """Replace the file by a dense copy of itself; what was deleted is then on no block of it.

    Readers go on while the copy is made and wait while it takes the file's place. A copy that
    somebody wrote behind is thrown away and made anew: no commit is ever lost.

    Parameters
    ----------
    pause : callable
        Gives a context in which those who write often do not.

    Raises
    ------
    DatabaseFailed
        There is no room, queries do not end, or somebody writes all the while; the file is as it
        was.
    """
    target = copies_folder(database, now_us) / FILE_NAME
    before = usage(database)
    for attempt in range(1, _TRIES + 1):
        with pause():
            database.checkpoint()
            state = state_of(database)
            try:
                copy_database(database, target)
                if database.swap(target, partial(_is_unchanged, database, state)):
                    after = usage(database)
                    return Compaction(
                        before.file_bytes + before.wal_bytes,
                        after.file_bytes + after.wal_bytes,
                        attempt,
                    )
            finally:
                remove_copy(target)
    raise DatabaseFailed(
        f"{database.path} was written to during {_TRIES} copies; try again when less is recorded"
    )


def _is_unchanged(database: Database, state: tuple[int, int, bytes]) -> bool:
    return state_of(database) == state
