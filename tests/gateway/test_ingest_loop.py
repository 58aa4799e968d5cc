"""The control plane's writing side: who may read the spool, and when house is kept."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, SegmentWriter, now_us, signals_of
from support.telemetry_feed import settings_of

from gateway.ingest_loop import IngestWork
from gateway.telemetry import Telemetry
from storage.database import Database
from storage.ingest import Enrich, Ingester, IngestOptions
from storage.records import End, Signals
from storage.tailing import BatchLimits


class HandClock:
    """Shows the seconds it is given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_us(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = open_empty_log(tmp_path)
    yield database
    database.close()


def work_on(database: Database, clock: HandClock, enrich: Enrich, *, batch: int) -> IngestWork:
    """Return the work on a data directory."""
    options = IngestOptions(batch=BatchLimits(records=batch))
    spool = database.data_dir / "spool"
    ingester = Ingester(database, spool, enrich=enrich, now_us=now_us, options=options)
    return IngestWork(database, ingester, Telemetry(settings_of()), clock)


def test_the_last_turn_and_the_end_write_nothing_twice(database: Database) -> None:
    """A turn that outlasts the stop of its thread is waited for; its rows are there once."""
    SegmentWriter(database.data_dir / "spool").ends(range(20))
    in_turn, go_on = threading.Event(), threading.Event()

    def enrich(ends: Sequence[End]) -> Sequence[Signals]:
        if not in_turn.is_set():
            in_turn.set()
            assert go_on.wait(10)
        return signals_of(ends)

    work = work_on(database, HandClock(), enrich, batch=100)
    turn = threading.Thread(target=work.turn)
    finish = threading.Thread(target=work.finish)
    turn.start()
    assert in_turn.wait(10)
    finish.start()
    finish.join(0.2)
    go_on.set()
    turn.join(10)
    finish.join(10)
    with database.cursor() as cursor:
        found = cursor.execute("SELECT count(*), count(DISTINCT id) FROM predictions").fetchall()
    assert found == [(20, 20)]
