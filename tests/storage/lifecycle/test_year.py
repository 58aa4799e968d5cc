"""A day in the life of a data directory that is a year old, at speed: sizes and results hold.

`DRIFTGATE_SIMULATED_DAYS=30 pytest tests/storage/lifecycle/test_year.py` lives a month.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.log_life import DAY, Life
from support.log_records import NOW, id_of

from storage.config import RetentionConfig
from storage.database import FILE_NAME
from storage.frames import HEADER_BYTES
from storage.lifecycle.forget import ForgetRequest
from storage.lifecycle.sizes import database_info, total_bytes

HOUR = DAY // 24
TURNS = 8
TURN = DAY // TURNS
DAYS = int(os.environ.get("DRIFTGATE_SIMULATED_DAYS", "1"))
OLD_DAYS = 364
EVERY_DAYS = 30
A_DAY = 24
A_TURN = 100
USERS = tuple(letter * 32 for letter in "abcdef")
POLICY = RetentionConfig(payloads=7, predictions=365, rollups=370)


class Model:
    """What must be in the directory: every record that was ever written, and who was forgotten."""

    def __init__(self) -> None:
        self.starts: dict[int, int] = {}
        self.forgotten: set[int] = set()

    def rows(self, starts: Iterable[int]) -> list[tuple[int, int, str]]:
        """Make records, each of one of the users in turn."""
        made = []
        for started_at in starts:
            number = len(self.starts)
            self.starts[number] = started_at
            made.append((number, started_at, USERS[number % len(USERS)]))
        return made

    def forget(self, user: str) -> None:
        """Take a user's records away."""
        self.forgotten |= {n for n in self.starts if USERS[n % len(USERS)] == user}

    def since(self, at_us: int) -> set[int]:
        """Return the numbers of the records that started since and were not forgotten."""
        return {n for n, at in self.starts.items() if at >= at_us} - self.forgotten


def an_old_directory(data_dir: Path, model: Model) -> Life:
    """Make a directory of a year, with a record an hour on some of its days and the last nine."""
    life = Life(data_dir, NOW - DAY)
    past = range(OLD_DAYS, 9, -EVERY_DAYS)
    life.record(model.rows(life.now - DAY * day + HOUR * h for day in past for h in range(A_DAY)))
    life.writer.rotate()
    life.ingester.step()
    with life.database.cursor() as cursor:
        # The text of the past was in files that retention has removed since.
        cursor.execute(
            "INSERT INTO text_marks SELECT source, segment, byte_offset, 0 FROM watermarks"
        )
    days = range(9, 0, -1)
    life.record(model.rows(life.now - DAY * day + HOUR * h for day in days for h in range(A_DAY)))
    life.keep_house(POLICY)
    life.archive.archive_now()
    return life


def numbers(life: Life, sql: str) -> set[int]:
    """Return the numbers of the ids that a query gives, each once."""
    with life.database.cursor() as cursor:
        rows = [str(one) for (one,) in cursor.execute(sql).fetchall()]
    assert len(rows) == len(set(rows))
    return {int(one.replace("-", "")[-12:], 16) for one in rows}


def check(life: Life, model: Model) -> None:
    """Compare facts, text and roll-ups with what they must be."""
    facts = numbers(life, "SELECT id FROM predictions")
    assert facts == model.since(life.now - 365 * DAY)
    assert numbers(life, "SELECT DISTINCT prediction_id FROM attempts") == facts
    text = numbers(life, "SELECT id FROM payloads")
    # A file of text goes with its last row, and holds no more than a day.
    assert model.since(life.now - 7 * DAY) <= text <= model.since(life.now - 8 * DAY - HOUR)
    counted = life.value("SELECT sum(n) FROM rollup_counts")
    kept = sum(at >= (life.now - 370 * DAY) for at in model.starts.values())
    assert kept <= int(str(counted)) <= kept + 2 * A_DAY


def live_a_turn(life: Life, model: Model, turn: int) -> None:
    """Record, keep house, and do what belongs to the time of the day."""
    life.now += TURN
    life.record(model.rows(life.now - TURN + n * TURN // A_TURN for n in range(A_TURN)))
    life.writer.rotate()
    life.keep_house(POLICY)
    if turn % TURNS == 2:
        life.cycle.compact()
    if turn % TURNS == 4:
        user = USERS[turn // TURNS % len(USERS)]
        life.cycle.forget(ForgetRequest(user_keys=(user,), ids=(id_of(turn),)))
        model.forget(user)
        model.forgotten.add(turn)
        check(life, model)
    if turn % TURNS == 5:
        life.database.close()
        for path in life.data_dir.glob(f"{FILE_NAME}*"):
            path.unlink()
        life.open()
    if turn % TURNS == 7:
        life.database.close()
        life.open()


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * DAYS)
def test_a_day_of_a_year_old_directory(tmp_path: Path) -> None:
    """Ingest, retention, compaction, forgetting, a lost database, a restart: all as computed."""
    model = Model()
    life = an_old_directory(tmp_path / "data", model)
    check(life, model)
    sizes = []
    for turn in range(TURNS * DAYS):
        live_a_turn(life, model, turn)
        sizes.append(total_bytes(life.database, life.data_dir / "spool"))
    life.drain()
    check(life, model)
    info = database_info(life.database, life.data_dir / "spool", life.now)
    assert info.lag_bytes <= HEADER_BYTES
    assert info.losses == {}
    assert len(list((life.data_dir / "spool").glob("*.seg"))) <= 3
    assert max(sizes) < 2 * min(sizes)
    life.close()
