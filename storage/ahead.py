"""Reading ahead: the database works while Python does something else, such as an import.

Nothing here needs numpy or the counts, so that they can be what is imported meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import duckdb

from storage.database import Database
from storage.errors import StorageError

if TYPE_CHECKING:
    from storage.log_reader import LogReader


def open_meanwhile(data_dir: Path, work: Callable[[], object]) -> Database:
    """Open a file for reading in another thread while `work` runs in this one.

    Raises
    ------
    StorageError
        As `Database.open_read_only`, when `work` has ended.
    """
    found: list[Database | StorageError | OSError] = []

    def run() -> None:
        try:
            found.append(Database.open_read_only(data_dir))
        except (StorageError, OSError) as error:
            found.append(error)

    thread = Thread(target=run, name="open-ahead")
    thread.start()
    try:
        work()
    finally:
        thread.join()
    opened = found[0]
    if isinstance(opened, Database):
        return opened
    raise opened


@contextmanager
def reading_ahead(log: "LogReader", ask: "Callable[[LogReader], object]") -> Iterator[None]:
    """Ask in another thread while the block runs; the log remembers its answers.

    The block must not use the log.

    Raises
    ------
    duckdb.Error
        A read failed, told at the end of the block.
    """
    failed: list[duckdb.Error] = []

    def run() -> None:
        try:
            ask(log)
        except duckdb.Error as error:
            failed.append(error)

    thread = Thread(target=run, name="read-ahead")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]
