"""What is too old goes, then the oldest of what is too much."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_life import DAY, Life
from support.log_records import NOW

from storage.config import RetentionConfig
from storage.lifecycle.sizes import folder_size, total_bytes

MIB = 1 << 20


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Open a directory with ten predictions on each of six days, all in files."""
    life = Life(tmp_path / "data", NOW)
    life.record((n, NOW - DAY * (n // 10) - n - 1, "u") for n in range(60))
    life.drain()
    life.archive.archive_now()
    yield life
    life.close()


def test_ages_are_those_of_the_policy(life: Life) -> None:
    """Text of two days, facts of four, and every roll-up."""
    done = life.cycle.apply_retention(RetentionConfig(payloads=2, predictions=4))
    assert life.value("SELECT count(*) FROM predictions") == 40
    assert life.value("SELECT count(*) FROM attempts") == 40
    assert life.value("SELECT sum(n) FROM rollup_counts") == 60
    assert 20 <= int(str(life.value("SELECT count(*) FROM payloads"))) <= 30
    assert done.facts.predictions == 20
    assert done.text.files >= 2
    assert life.cycle.statistics().retired_predictions == 20


def test_roll_ups_go_when_they_are_older_still(life: Life) -> None:
    """Their age is a key of its own."""
    life.cycle.apply_retention(RetentionConfig(predictions=1, rollups=3))
    kept = int(str(life.value("SELECT sum(n) FROM rollup_counts")))
    assert 30 <= kept <= 40
    assert life.value("SELECT count(*) FROM predictions") == 10


def test_a_second_run_finds_nothing(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """What is gone is counted and logged once."""
    policy = RetentionConfig(payloads=2, predictions=4)
    with caplog.at_level(logging.INFO, logger="storage.lifecycle.retention"):
        life.cycle.apply_retention(policy)
        assert len(caplog.records) == 1
        done = life.cycle.apply_retention(policy)
    assert not any(done.facts)
    assert done.archive.files == 0
    assert len(caplog.records) == 1


def test_text_beyond_its_size_goes_first(life: Life) -> None:
    """The oldest files go until the rest fits; facts stay."""
    folder = life.data_dir / "payloads"
    with life.database.cursor() as cursor:
        cursor.execute("UPDATE payload_files SET bytes = 300_000 WHERE state = 'live'")
    for path in folder.glob("day=*/*.parquet"):
        with path.open("ab") as file:
            file.truncate(300_000)
    policy = RetentionConfig(payloads_size=MIB)
    done = life.cycle.apply_retention(policy)
    assert done.text.files == 3
    assert folder_size(folder).bytes <= MIB
    assert life.value("SELECT count(*) FROM predictions") == 60


def test_a_total_that_is_too_large_costs_text_then_facts(life: Life) -> None:
    """Whole days of facts go, the oldest first; the present day stays, and what is over is told."""
    life.database.checkpoint()
    need = total_bytes(life.database, life.data_dir / "spool")
    done = life.cycle.apply_retention(sized(need - 200_000))
    assert done.text.files > 0
    left = left_numbers(life)
    assert left == list(range(len(left)))
    assert 0 < len(left) < 60
    tiny = life.cycle.apply_retention(sized(1))
    assert tiny.over_bytes > 0
    today = NOW // DAY * DAY
    assert [NOW - DAY * (n // 10) - n - 1 >= today for n in left_numbers(life)] == [True] * 10
    assert life.value("SELECT sum(n) FROM rollup_counts") == 60


def sized(total: int) -> RetentionConfig:
    """Return a policy with a total that is smaller than a configuration may name."""
    return RetentionConfig.model_construct(**RetentionConfig().model_dump() | {"total_size": total})


def left_numbers(life: Life) -> list[int]:
    """Return the numbers of the predictions that are left."""
    with life.database.cursor() as cursor:
        rows = cursor.execute("SELECT id::VARCHAR FROM predictions ORDER BY 1").fetchall()
    return [int(one[-6:], 16) for (one,) in rows]
