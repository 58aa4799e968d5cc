"""Reading ahead: the database works while Python does something else, such as an import.

Nothing here needs numpy or the counts, so that they can be what is imported meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import duckdb

from storage.database import Database
from storage.errors import StorageError

if TYPE_CHECKING:
    from storage.log_reader import LogReader
    from storage.repository import Repository


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
def reading_ahead(
    log: "LogReader", repository: "Repository", asks: "Sequence[Callable[[LogReader], object]]"
) -> Iterator[None]:
    """Ask in other threads while the block runs; the log remembers all answers.

    The first thread asks over the log's own connection, every further one over another: the file
    must be open for reading alone, so that all see the same. The block must not use the log.

    Raises
    ------
    duckdb.Error
        A read failed, told at the end of the block.
    """
    failed: list[duckdb.Error] = []

    def run(ask: "Callable[[LogReader], object]", reader: "LogReader") -> None:
        try:
            ask(reader)
        except duckdb.Error as error:
            failed.append(error)

    with ExitStack() as stack:
        readers = [log]
        while len(readers) < len(asks):
            readers.append(log.beside(stack.enter_context(repository.reading())))
        threads = [
            Thread(target=run, args=pair, name="read-ahead")
            for pair in zip(asks, readers, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join()
        if failed:
            raise failed[0]
