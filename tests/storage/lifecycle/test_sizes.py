"""What a data directory holds, and what it will come to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_records import NOW, SegmentWriter, now_us, signals_of
from support.reading_log import take_in
from support.report_log import at

from storage.config import RetentionConfig
from storage.database import Database
from storage.ingest import Ingester
from storage.lifecycle.outlook import outlook
from storage.lifecycle.sizes import DatabaseInfo, database_info, total_bytes
from storage.rollups.rebuild import rebuild_days
from storage.times import DAY_US


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Give the folder of a data directory."""
    return tmp_path / "data"


@pytest.fixture
def database(data_dir: Path) -> Iterator[Database]:
    """Open an empty database."""
    opened = Database.open(data_dir, now_us=now_us)
    yield opened
    opened.close()


def fill(database: Database, days: int, per_day: int) -> None:
    """Add rows, evenly over the days before now."""
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback (prediction_id, given_at, tenant, comment, batch)"
            " SELECT uuid(), make_timestamp($1 - range * $2), 't', uuid()::VARCHAR, 1"
            " FROM range($3)",
            [NOW, DAY_US // per_day, days * per_day],
        )
        columns = cursor.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'predictions'"
            " AND NOT is_nullable AND column_name NOT IN ('id', 'started_at')"
        ).fetchall()
        zeros = {"VARCHAR": "''", "VARCHAR[]": "[]", "BOOLEAN": "false"}
        names = ", ".join(f'"{name}"' for name, _ in columns)
        values = ", ".join(zeros.get(kind, "0") for _, kind in columns)
        cursor.execute(
            f"INSERT INTO predictions (id, started_at, {names})"  # noqa: S608 (names of the catalog)
            f" SELECT uuid(), make_timestamp($1 - range * $2), {values} FROM range($3)",
            [NOW, DAY_US // per_day, days * per_day],
        )
        rebuild_days(cursor, (NOW // DAY_US - days) * DAY_US, (NOW // DAY_US + 1) * DAY_US)
    database.checkpoint()


def info_of(database: Database) -> DatabaseInfo:
    """Look at a directory."""
    return database_info(database, database.data_dir / "spool", NOW)


def test_tables_are_counted_with_their_bytes(database: Database) -> None:
    """Rows are exact, bytes are whole blocks, and the largest table comes first."""
    fill(database, days=10, per_day=1000)
    info = info_of(database)
    assert info.tables[0].name in {"predictions", "feedback"}
    assert {t.name: t.rows for t in info.tables}["feedback"] == 10_000
    assert 0 < sum(table.bytes for table in info.tables) <= info.file_bytes
    assert info.predictions == 10_000
    assert info.newest_at == NOW
    assert info.record_bytes is not None
    assert 10 < info.record_bytes < 1000


def test_an_empty_directory_has_nothing(database: Database) -> None:
    """Nothing recorded is no division by nothing."""
    info = info_of(database)
    assert (info.predictions, info.oldest_at, info.record_bytes) == (0, None, None)
    assert outlook(database, info, RetentionConfig(), NOW).full_in_days is None


def test_rows_of_the_write_ahead_log_alone_have_no_size(database: Database) -> None:
    """Unknown is not 0 bytes a record."""
    take_in(database, [at(1, 1)])
    info = info_of(database)
    assert (info.predictions, info.record_bytes) == (1, None)


def test_the_lag_of_each_source_is_told(database: Database, data_dir: Path) -> None:
    """What is written and not read is lag; afterwards it is none."""
    spool = data_dir / "spool"
    writer = SegmentWriter(spool)
    writer.ends(range(10))
    before = info_of(database)
    assert before.lag_bytes == writer.info().size_bytes > 0
    Ingester(database, spool, enrich=signals_of, now_us=now_us).step()
    after = info_of(database)
    assert after.lag_bytes == 0
    assert [source.source for source in after.sources] == ["w0-1-1"]
    assert after.text_lag_bytes > 0
    assert after.spool.bytes >= writer.info().size_bytes
    writer.die()


def test_growth_follows_the_last_days(database: Database) -> None:
    """A thousand rows a day for ten days grow to a year of them."""
    fill(database, days=10, per_day=1000)
    info = info_of(database)
    found = outlook(database, info, RetentionConfig(), NOW)
    facts = next(kind for kind in found.kinds if kind.name == "facts")
    assert facts.bytes_per_day == pytest.approx(facts.bytes / 10, rel=0.05)
    assert facts.age_days == pytest.approx(10, rel=0.05)
    rollups = next(kind for kind in found.kinds if kind.name == "roll-ups")
    kept = facts.bytes_per_day * 365 + rollups.bytes_per_day * 1825
    assert found.steady_bytes == pytest.approx(kept, rel=0.05)


def test_free_blocks_are_not_counted_as_use(database: Database, data_dir: Path) -> None:
    """What was deleted and checkpointed is room, though the file is as long as before."""
    fill(database, days=40, per_day=2500)
    before = total_bytes(database, data_dir / "spool")
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM feedback")
    database.checkpoint()
    database.checkpoint()
    assert total_bytes(database, data_dir / "spool") < before
