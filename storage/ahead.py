"""Reading ahead: the database counts while Python does something else, such as an import."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import duckdb

from storage.log_reader import LogReader


@contextmanager
def reading_ahead(log: LogReader, ask: Callable[[LogReader], object]) -> Iterator[None]:
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
