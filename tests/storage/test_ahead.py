import threading
from pathlib import Path

import pytest

from storage.ahead import open_meanwhile, reading_ahead
from storage.database import Database
from storage.errors import DatabaseFailed, DatabaseUnreadable
from storage.log_reader import LogReader
from storage.reader import Scope, Window
from storage.repository import Repository


def test_file_opened_meanwhile_is_read(tmp_path: Path) -> None:
    """The work runs in the caller's thread, and the file is open behind it."""
    Database.open(tmp_path, now_us=lambda: 0).close()
    worked: list[int] = []

    database = open_meanwhile(tmp_path, lambda: worked.append(threading.get_ident()))

    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
    database.close()
    assert worked == [threading.get_ident()]


def test_error_of_opening_reaches_the_caller(tmp_path: Path) -> None:
    """A folder without a file says so as `open_read_only` does, when the work is done."""
    worked: list[bool] = []

    with pytest.raises(DatabaseUnreadable, match="does not exist"):
        open_meanwhile(tmp_path, lambda: worked.append(True))

    assert worked == [True]


def test_answers_of_all_threads_are_remembered(tmp_path: Path) -> None:
    """What is asked ahead, over whichever connection, is there when the block has ended."""
    scope = Scope(Window(0, 3_600_000_000))
    Database.open(tmp_path, now_us=lambda: 0).close()
    database = Database.open_read_only(tmp_path)
    repository = Repository(database)
    answers: list[object] = []

    with repository.snapshot() as log:
        asks = [
            lambda log: answers.append(log.counts(scope)),
            lambda log: answers.append(log.attempts(scope)),
        ]
        with reading_ahead(log, repository, asks):
            pass
        known = [log.counts(scope), log.attempts(scope)]

    database.close()
    assert all(any(one is answer for answer in answers) for one in known)


def test_error_of_any_thread_is_told_at_the_end(tmp_path: Path) -> None:
    """The block runs to its end, and then what a read met is raised."""
    Database.open(tmp_path, now_us=lambda: 0).close()
    database = Database.open_read_only(tmp_path)
    repository = Repository(database)
    ended: list[bool] = []

    with (
        pytest.raises(DatabaseFailed),
        repository.snapshot() as log,
        reading_ahead(
            log, repository, [LogReader.watermarks, lambda log: log.connection.execute("FROM none")]
        ),
    ):
        ended.append(True)

    database.close()
    assert ended == [True]
