from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.empty_log import open_empty_log
from support.log_records import end_of, id_of, signals_of
from support.telemetry_feed import verdict_of

from storage import monitor_reads
from storage.monitor_reads import STANDS_US
from storage.reader import Window
from storage.records import Feedback
from storage.repository import Repository
from storage.times import HOUR_US
from storage.writer import Batch

AT = 1_790_000_000_000_000
WINDOW = Window(AT, AT + HOUR_US)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return an empty log."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


def test_what_stands_is_of_the_window(repository: Repository) -> None:
    """Quality is written when it changes and once an hour, drift at every look."""
    before = AT - STANDS_US // 2
    drift = verdict_of("latency_s", at=before)
    stands = msgspec.structs.replace(drift, id="q", monitor="quality")
    old = msgspec.structs.replace(stands, id="o", feature="input.x", at=AT - STANDS_US - 1)
    repository.save_verdicts([drift, stands, old])
    with repository.snapshot() as log:
        found = monitor_reads.newest_verdicts(log.connection, WINDOW)
    assert [(verdict.monitor, verdict.at) for verdict in found] == [("quality", before)]


def test_scores_without_a_square_are_left_out(repository: Repository) -> None:
    """One of 1e308 would leave neither mean nor variance of all others."""
    ends = [end_of(number, text=False, started_at=AT + number) for number in (1, 2, 3)]
    repository.append(Batch(ends, signals_of(ends), (), (), ()), now_us=AT)
    given = [(1, 1e308), (2, 4.0), (3, 2.0)]
    repository.add_feedback([Feedback(id_of(n), AT + n, "", score) for n, score in given])
    with repository.snapshot() as log:
        (found,) = monitor_reads.scores(log.connection, WINDOW)
    assert (found.n, found.mean, found.variance) == (2, 3.0, 1.0)
