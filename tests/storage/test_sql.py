"""Users' queries: their results, and where they are stopped."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.reading_log import take_in
from support.report_log import START, at, fill, known_traffic, opened

from storage.database import Database, DatabaseLimits
from storage.errors import QueryRefused
from storage.sql import BoundedReader, QueryLimits, Result, run_query

ENDLESS = (
    "SELECT count(*) FROM range(1000000) a, range(1000000) b"
    " WHERE a.range::VARCHAR || b.range::VARCHAR = 'x'"
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a log with known traffic."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    fill(data_dir, known_traffic())
    return data_dir


@pytest.fixture
def database(filled: Path, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of it."""
    shutil.copytree(filled, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        yield found


def ask(database: Database, text: str, **limits: int) -> Result:
    """Run a query with little time."""
    return run_query(BoundedReader(database.cursor, time_s=5.0), text, QueryLimits(**limits))


def test_values_are_json(database: Database) -> None:
    """Times are ISO 8601 in UTC, ids text; what JSON has no word for is null."""
    found = ask(
        database,
        "SELECT id, started_at, tags, 'nan'::DOUBLE, 1.5::DECIMAL(4, 2), 170141183460469::HUGEINT,"
        " {'a': 1}, now() > '2020-01-01', TIMESTAMPTZ '2023-11-14 23:00:00+01'"
        " FROM predictions ORDER BY id LIMIT 1",
    )
    assert msgspec.json.decode(found.rows[0]) == [
        "01900000-0000-7000-8000-000000000001", "2023-11-14T22:00:01Z", ["a", "b"], None, 1.5,
        170141183460469, {"a": 1}, True, "2023-11-14T22:00:00Z",
    ]  # fmt: skip
    assert [column.type for column in found.columns][:3] == ["UUID", "TIMESTAMP", "VARCHAR[]"]


def test_columns_of_one_name_are_told_apart(database: Database) -> None:
    """A joined table's columns do not hide the first one's."""
    found = ask(database, "SELECT 1 AS a, 2 AS a")
    assert [column.name for column in found.columns] == ["a", "a_1"]


def test_rows_and_bytes_are_bounded(database: Database) -> None:
    """The rest is left out, and the result says so."""
    by_rows = ask(database, "FROM predictions", rows=3)
    assert (len(by_rows.rows), by_rows.truncated) == (3, True)
    whole = ask(database, "FROM range(3)", rows=3)
    assert (len(whole.rows), whole.truncated) == (3, False)
    by_bytes = ask(database, "SELECT 'xxxxxxxx' FROM range(100)", result_bytes=30)
    assert (len(by_bytes.rows), by_bytes.truncated) == (2, True)


def test_a_query_is_stopped_in_time(database: Database) -> None:
    """Its connection is given back, and nothing stays open that holds up a checkpoint."""
    with pytest.raises(QueryRefused, match=r"after 0\.2 s") as raised:
        run_query(BoundedReader(database.cursor, time_s=0.2), ENDLESS, QueryLimits())
    assert raised.value.code == "query_timed_out"
    assert database.statistics().users == 0
    with database.cursor() as cursor:
        cursor.execute("FORCE CHECKPOINT")


def test_a_query_is_cancelled_from_another_thread(database: Database) -> None:
    """Whoever asked may be gone before it ends."""
    reader = BoundedReader(database.cursor, time_s=30.0)
    timer = threading.Timer(0.2, reader.interrupt)
    timer.start()
    with pytest.raises(QueryRefused, match="cancelled"):
        run_query(reader, ENDLESS, QueryLimits())
    timer.join()


def test_a_cut_result_leaves_no_transaction(database: Database) -> None:
    """A stream that is not read to its end is closed with its connection."""
    assert ask(database, "FROM range(1000000)", rows=10).truncated
    with database.cursor() as cursor:
        cursor.execute("FORCE CHECKPOINT")
    assert database.statistics().users == 0


def test_the_transaction_cannot_write(database: Database) -> None:
    """Should the check of a statement ever miss something."""
    with (
        pytest.raises(QueryRefused, match="read-only"),
        BoundedReader(database.cursor, time_s=5.0).reading() as connection,
    ):
        connection.execute("DELETE FROM predictions")


def test_the_writer_goes_on_beside_a_query(database: Database) -> None:
    """Batches are committed while a query has every core."""
    reader = BoundedReader(database.cursor, time_s=30.0)
    outcome: list[str] = []

    def query() -> None:
        try:
            run_query(reader, ENDLESS, QueryLimits())
        except QueryRefused as error:
            outcome.append(error.code)

    thread = threading.Thread(target=query)
    thread.start()
    while database.statistics().users == 0:
        time.sleep(0.01)
    for number in range(5):
        take_in(database, [at(20 + number, 100 + number)])
    running = list(outcome)
    reader.interrupt()
    thread.join()
    assert (running, outcome) == ([], ["query_cancelled"])
    assert ask(database, "SELECT count(*) FROM predictions").rows == [b"[16]"]
    database.checkpoint()


def test_a_query_out_of_memory_stops_nobody_else(tmp_path: Path) -> None:
    """The instance has one limit; the next batch is taken as if nothing had been."""
    limits = DatabaseLimits(memory="64MB", spill="1MB")
    database = Database.open(tmp_path, now_us=lambda: START, limits=limits)
    try:
        take_in(database, [at(1, 1)])
        with pytest.raises(QueryRefused) as raised:
            ask(
                database,
                "SELECT list(range::VARCHAR || 'some text of a length') FROM range(9000000)",
            )
        assert raised.value.code == "query_out_of_memory"
        take_in(database, [at(2, 2)])
        database.checkpoint()
        assert ask(database, "SELECT count(*) FROM predictions").rows == [b"[2]"]
        assert database.statistics().reopened == 0
    finally:
        database.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT nope FROM predictions", '"nope" not found'),
        ("SELECT 'x'::INTEGER", "Could not convert"),
        ("SELECT error('as asked')", "as asked"),
        ("SELECT no_such_function(1)", "no_such_function"),
    ],
)
def test_a_query_s_own_fault_is_told(database: Database, text: str, said: str) -> None:
    """In DuckDB's words, and without blaming the database."""
    with pytest.raises(QueryRefused, match=said):
        ask(database, text)
