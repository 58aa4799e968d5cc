import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_records import NOW

from storage.database import Database
from storage.errors import DatabaseFailed

_LONG = "SELECT sum(sin(a.range + b.range)) FROM range(1000000) a, range(100000) b"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database."""
    opened = Database.open(tmp_path, now_us=lambda: NOW)
    yield opened
    opened.close()


def test_a_lull_is_when_nobody_else_reads(database: Database) -> None:
    """One's own cursor does not count; another's does, to the end of the patience."""
    with database.cursor() as own:
        with database.lending.lull(patience_s=0.0, besides=[own]) as is_quiet:
            assert is_quiet
        with database.cursor(), database.lending.lull(patience_s=0.0, besides=[own]) as is_quiet:
            assert not is_quiet


def test_nothing_is_lent_in_a_lull(database: Database) -> None:
    """Whoever asks meanwhile waits for its end."""
    lent = threading.Event()

    def ask() -> None:
        with database.cursor():
            lent.set()

    thread = threading.Thread(target=ask)
    with database.lending.lull(patience_s=0.0) as is_quiet:
        assert is_quiet
        thread.start()
        assert not lent.wait(0.05)
    assert lent.wait(10)
    thread.join()


def test_a_query_without_end_is_interrupted(database: Database) -> None:
    """It fails with words; then the others stand still."""
    started, told = threading.Event(), list[str]()

    def read() -> None:
        try:
            with database.cursor() as cursor:
                started.set()
                cursor.execute(_LONG).fetchall()
        except DatabaseFailed as error:
            told.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(10)
    with database.lending.all_returned(patience_s=0.1):
        assert database.statistics().users == 0
    thread.join()
    assert "somebody had to have the log alone" in told[0]


def test_a_query_that_begins_later_is_interrupted(database: Database) -> None:
    """One that is between two queries is stopped in the second."""
    started, go_on, told = threading.Event(), threading.Event(), list[str]()

    def read() -> None:
        try:
            with database.cursor() as cursor:
                started.set()
                go_on.wait(10)
                cursor.execute(_LONG).fetchall()
        except DatabaseFailed as error:
            told.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(10)
    later = threading.Timer(0.1, go_on.set)
    later.start()
    with database.lending.all_returned(patience_s=0.0):
        assert go_on.is_set()
    thread.join()
    later.join()
    assert "somebody had to have the log alone" in told[0]


def test_two_who_wait_for_each_other_do_not_wait_long(database: Database) -> None:
    """One who keeps a cursor gives up while another waits for that cursor."""
    with (
        database.cursor() as own,
        database.lending.lull(patience_s=0.0, besides=[own]) as outer,
        database.lending.lull(patience_s=0.05, besides=[own]) as inner,
    ):
        assert outer
        assert not inner


def test_whoever_has_a_cursor_gets_another_meanwhile(database: Database) -> None:
    """Who wants the log alone waits for the first one, which is given back after the second."""
    waits, alone = threading.Event(), threading.Event()

    def stop() -> None:
        waits.set()
        with database.lending.all_returned(patience_s=30.0):
            alone.set()

    thread = threading.Thread(target=stop)
    with database.cursor():
        thread.start()
        assert waits.wait(10)
        assert not alone.wait(0.05)
        with database.cursor() as second:
            assert second.execute("SELECT 1").fetchall() == [(1,)]
        assert not alone.is_set()
    assert alone.wait(10)
    thread.join()
