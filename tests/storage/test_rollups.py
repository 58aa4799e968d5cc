from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.empty_log import open_empty_log
from support.log_draws import FIRST, SPAN_US, WINDOWS, logs, moved
from support.log_records import NOW, end_of, now_us
from support.memory_log import MemoryLog
from support.rollup_log import batch_of, store, tables_of

from storage.database import Database
from storage.log import CATEGORIES, MEASURES, PredictionLog
from storage.migrations import STEPS, migrate
from storage.reader import Scope, Window
from storage.records import End, Signals
from storage.repository import Repository
from storage.rollups.buckets import INFINITE, bucket_of, bucket_sql, value_of
from storage.rollups.compaction import compact
from storage.rollups.rebuild import rebuild_days
from storage.rollups.state import SLOT_US
from storage.text.layout import prepare_folder
from storage.times import DAY_US, HOUR_US


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = open_empty_log(tmp_path)
    yield database
    database.close()


def counts_of(log: PredictionLog, scope: Scope) -> list[object]:
    """Return every count of a scope."""
    rows = [
        *log.counts(scope),
        *log.values(scope, MEASURES),
        *log.categories(scope, CATEGORIES),
        *log.attempts(scope),
        *log.timeline(scope, HOUR_US),
    ]
    return [
        tuple(cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in row)
        for row in rows
    ]


def test_buckets_keep_one_percent() -> None:
    """A number is within 1 % of the middle of its bucket, on either side of zero."""
    for number in np.geomspace(1.1e-6, 1e15, 2_000):
        bucket = bucket_of(number)
        assert bucket is not None
        assert value_of(bucket) == pytest.approx(number, rel=0.01)
        assert bucket_of(-number) == -bucket
    assert [bucket_of(x) for x in (None, float("nan"), 0.0, 1e-9)] == [None, None, 0, 0]
    assert (bucket_of(float("inf")), value_of(-INFINITE)) == (INFINITE, -np.inf)
    assert (bucket_of(1.7e308) or INFINITE) < INFINITE


@given(st.lists(st.floats(), max_size=50))
@settings(max_examples=10, deadline=None)
def test_the_database_has_the_same_buckets(numbers: list[float]) -> None:
    """The expression and the function agree on every number there is."""
    with duckdb.connect() as connection:
        statement = f"SELECT {bucket_sql('v')} FROM (SELECT unnest(?::DOUBLE[]) AS v)"  # noqa: S608 (as above)
        found = connection.execute(statement, [numbers]).fetchall()
    assert [bucket for (bucket,) in found] == [bucket_of(number) for number in numbers]


@given(
    records=logs(),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    looks=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    window=WINDOWS,
)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_added_up_equals_rebuilt_equals_counted(
    spans: tuple[Database, Iterator[int]],
    records: list[tuple[End, Signals]],
    cuts: list[int],
    looks: list[int],
    window: tuple[int, int],
) -> None:
    """Any split into batches and any moments of adding up give what a rebuild gives."""
    database, days = spans
    later = next(days) * DAY_US * 10
    memory, log = MemoryLog(), Repository(database)
    records = [(moved(end, later), said) for end, said in records]
    borders = [0, *sorted(cuts), len(records)]
    for number, (low, high) in enumerate(pairwise(borders)):
        for kept in (memory, log):
            kept.append(batch_of(records[low:high]), now_us=NOW)
        with database.cursor() as cursor:
            compact(cursor, FIRST + later + looks[number % len(looks)] * HOUR_US)
    span = FIRST + later - HOUR_US, FIRST + later + SPAN_US + HOUR_US
    added_up = tables_of(database, *span)
    scope = Scope(Window(window[0] + later, window[1] + later), role=None)
    assert counts_of(log, scope) == counts_of(memory, scope)
    with database.cursor() as cursor:
        rebuild_days(cursor, *span)
    assert tables_of(database, *span) == added_up


@pytest.fixture
def spans(database: Database) -> tuple[Database, Iterator[int]]:
    """Return a database and numbers that rise: each example has a time of its own."""
    return database, iter(range(1, 1_000))


def test_adding_up_makes_one_row_a_slot_then_one_an_hour(database: Database) -> None:
    """Slots that are over have a row each; after two days their hour has one; totals stay."""
    low = FIRST - 3 * HOUR_US
    for number in range(6):
        store(database, [end_of(number, started_at=low + number * SLOT_US // 2)])
    with database.cursor() as cursor:
        query = 'SELECT grain_s, n::INTEGER FROM rollup_counts ORDER BY "at"'
        compact(cursor, low + SLOT_US)
        assert cursor.execute(query).fetchall() == [
            (300, 2),
            (300, 1),
            (300, 1),
            (300, 1),
            (300, 1),
        ]
        compact(cursor, low + 49 * HOUR_US)
        assert cursor.execute(query).fetchall() == [(3600, 6)]
        store(database, [end_of(9, started_at=low + 7)])
        assert cursor.execute(query).fetchall() == [(3600, 6), (3600, 1)]
    window = Window(low + SLOT_US // 2, low + 2 * HOUR_US)
    assert sum(row.n for row in Repository(database).counts(Scope(window))) == 5


def test_adding_up_goes_on_after_a_clock_that_was_ahead(database: Database) -> None:
    """Once the clock is right again, what is written is added up; nothing is counted twice."""
    low = FIRST - FIRST % HOUR_US
    with database.cursor() as cursor:
        compact(cursor, low + 400 * DAY_US)
        for number in range(6):
            store(database, [end_of(number, started_at=low + number * SLOT_US // 2)])
            compact(cursor, low + number * SLOT_US // 2)
        compact(cursor, low + HOUR_US)
        found = cursor.execute("SELECT n::INTEGER FROM rollup_counts").fetchall()
    assert found == [(6,)]


def test_a_category_of_many_values_keeps_the_same_ones(database: Database) -> None:
    """256 values of a slot stay, whatever was added up first; the others are counted together."""
    words = [f"word {number}" for number in range(400)]
    for part in (words[200:], words[:200], words[100:300]):
        store(database, [end_of(i, started_at=FIRST, finish_reason=w) for i, w in enumerate(part)])
        with database.cursor() as cursor:
            compact(cursor, FIRST + HOUR_US)
            cursor.execute("UPDATE log_state SET value = 0 WHERE name = 'rollup_slots_until'")
    before = tables_of(database, FIRST, FIRST + HOUR_US)
    with database.cursor() as cursor:
        compact(cursor, FIRST + HOUR_US)
    added_up = tables_of(database, FIRST, FIRST + HOUR_US)
    assert added_up == before
    (counted,) = Repository(database).categories(
        Scope(Window(FIRST, FIRST + HOUR_US)), ["finish_reason"]
    )
    assert len(counted.values) == 257
    assert sum(counted.values.values()) == 600
    with database.cursor() as cursor:
        rebuild_days(cursor, FIRST, FIRST + HOUR_US)
    assert tables_of(database, FIRST, FIRST + HOUR_US) == added_up


def test_an_older_file_keeps_its_hours(tmp_path: Path) -> None:
    """Hours of an older file are carried over, and counted anew where their facts are left."""
    (tmp_path / "payloads" / "none").mkdir(parents=True)
    Database.open(tmp_path, now_us=now_us).close()
    (tmp_path / "driftgate.duckdb").unlink()
    config = {"file_search_path": str(tmp_path)}
    with duckdb.connect(str(tmp_path / "driftgate.duckdb"), config=config) as connection:  # type: ignore[arg-type]
        migrate(connection, now_us=NOW, steps=STEPS[:2])
        for hour, n in (("2026-11-01 10:00", 7), ("2026-11-18 07:00", 1)):
            connection.execute(
                "INSERT INTO rollup_counts VALUES (?, 'chat', 'primary', 'a', 'm', 'primary',"
                " 'miss', 5, 'internal', false, ?, 7, 10, 20, 0, 0, 0.25, 100, 200)",
                [hour, n],
            )
        connection.execute(
            "INSERT INTO rollup_latency VALUES ('2026-11-01 10:00', 'chat', 'primary', 'a',"
            " 'primary', 'latency', 314, 7)"
        )
        for started_at in ("2026-11-18 06:50", "2026-11-18 07:30"):
            _old_prediction(connection, started_at)
    database = Database.open(tmp_path, now_us=now_us)
    log = Repository(database)
    old = Scope(Window(1_793_000_000_000_000, 1_793_600_000_000_000))
    (row,) = log.counts(old)
    assert (row.n, row.status, row.cost_nano_usd) == (7, 500, 250_000_000)
    (latency,) = log.values(old, ["latency_s"])
    assert latency.counts.tolist() == [7]
    assert value_of(int(latency.buckets[0])) == pytest.approx(0.5, rel=0.01)
    with database.cursor() as cursor:
        while compact(cursor, NOW):
            pass
    (row,) = log.counts(Scope(Window(NOW - 7 * HOUR_US - NOW % HOUR_US, NOW)))
    assert (row.n, row.status, row.model, row.cost_known) == (1, 200, "m-2", 1)
    assert log.counts(old)[0].n == 7
    database.close()


def test_a_young_older_file_is_counted_anew_whole(tmp_path: Path) -> None:
    """Also the hour its facts begin in, if none of them has expired."""
    prepare_folder(tmp_path)
    config = {"file_search_path": str(tmp_path)}
    with duckdb.connect(str(tmp_path / "driftgate.duckdb"), config=config) as connection:  # type: ignore[arg-type]
        migrate(connection, now_us=NOW, steps=STEPS[:2])
        connection.execute(
            "INSERT INTO rollup_counts VALUES ('2026-11-18 07:00', 'chat', 'primary', 'a', 'm',"
            " 'primary', 'miss', 2, '', false, 2, 2, 10, 20, 0, 0, 0.25, 100, 200)"
        )
        for started_at in ("2026-11-18 07:10", "2026-11-18 07:30"):
            _old_prediction(connection, started_at)
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        compact(cursor, NOW)
    (tokens,) = Repository(database).values(Scope(Window(NOW - DAY_US, NOW)), ["prompt_tokens"])
    assert tokens.counts.sum() == 2
    database.close()


def _old_prediction(connection: duckdb.DuckDBPyConnection, started_at: str) -> None:
    facts = msgspec.structs.asdict(end_of(1, tags=()).prediction)
    row = connection.execute("DESCRIBE predictions").fetchall()
    connection.execute(
        f"INSERT INTO predictions VALUES ({', '.join('?' for _ in row)})",  # noqa: S608 (marks)
        [{**facts, "started_at": started_at, "tags": []}[name] for name, *_ in row],
    )
