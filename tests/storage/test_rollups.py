from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.log_records import NOW, end_of, now_us, signals_of

from storage.database import Database
from storage.hourly import duration_counts, hourly_counts
from storage.records import End
from storage.rollups import bucket_of, compact_rollups, seconds_of
from storage.times import HOUR_US
from storage.writer import Batch, write_batch

FIRST = NOW - NOW % HOUR_US


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = Database.open(tmp_path, now_us=now_us)
    yield database
    database.close()


def store(database: Database, ends: Sequence[End]) -> None:
    """Write records without a spool."""
    with database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=NOW)


def test_buckets_keep_one_percent() -> None:
    """A duration is within 1 % of the middle of its bucket, from a microsecond to a day."""
    for seconds in np.geomspace(1e-6, 86_400, 1_000):
        assert seconds_of(bucket_of(seconds)) == pytest.approx(seconds, rel=0.01)


def test_hours_are_summed_up(database: Database) -> None:
    """Counts of several batches add up within an hour and keep hours apart."""
    store(database, [end_of(1, reason="internal"), end_of(2, cache="hit", prompt_tokens=None)])
    store(database, [end_of(3, fallback_from="x"), end_of(4, started_at=NOW + HOUR_US)])
    with database.cursor() as cursor:
        first, second = hourly_counts(cursor, FIRST, FIRST + 2 * HOUR_US)
        assert hourly_counts(cursor, FIRST, FIRST + HOUR_US) == [first]
        assert hourly_counts(cursor, FIRST, FIRST + HOUR_US, route="other") == []
    assert (first["hour_at"], first["n"], second["n"]) == (FIRST, 3, 1)
    assert (first["with_reason"], first["fallbacks"], first["cache_hits"]) == (1, 1, 1)
    assert first["prompt_tokens"] == 20.0


def test_a_median_from_buckets_is_close(database: Database) -> None:
    """The rolled-up median is within 1 % of the exact one."""
    seconds = np.random.default_rng(8).lognormal(size=501)
    store(database, [end_of(i, latency_s=float(s)) for i, s in enumerate(seconds)])
    with database.cursor() as cursor:
        counted = duration_counts(cursor, FIRST, FIRST + HOUR_US, measure="latency")
    values, n = zip(*counted["chat", "primary"], strict=True)
    assert np.median(np.repeat(values, n)) == pytest.approx(np.median(seconds), rel=0.01)


def test_compacting_leaves_other_hours_alone(database: Database) -> None:
    """Only rows of whole hours in the window are merged; sums are the same before and after."""
    for number in range(6):
        store(database, [end_of(number, started_at=FIRST + number % 2 * HOUR_US)])
    with database.cursor() as cursor:
        before = hourly_counts(cursor, FIRST, FIRST + 2 * HOUR_US)
        compact_rollups(cursor, from_us=FIRST, before_us=FIRST + HOUR_US + 5)
        rows = cursor.execute("SELECT hour, count(*) FROM rollup_counts GROUP BY 1 ORDER BY 1")
        assert [n for _, n in rows.fetchall()] == [1, 3]
        assert hourly_counts(cursor, FIRST, FIRST + 2 * HOUR_US) == before
