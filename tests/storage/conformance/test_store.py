"""What every store behind `storage.log` must do; a new one is one more entry of `STORES`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.empty_log import open_empty_log
from support.log_draws import FIRST, TIMES, WINDOWS, logs, moved
from support.log_records import NOW, SECOND, end_of, id_of, signals_of
from support.memory_log import MemoryLog

from storage.browse import LogFilter
from storage.log import CATEGORIES, MEASURES, Cutoffs, LogReads, PredictionLog
from storage.new_rows import Among
from storage.reader import Scope, Window
from storage.records import End, Feedback, Signals
from storage.repository import Repository
from storage.rollups.buckets import bucket_of
from storage.rollups.state import SLOT_US
from storage.times import DAY_US
from storage.watermarks import Watermark
from storage.writer import Batch

Opener = Callable[[Path], AbstractContextManager[PredictionLog]]
ALWAYS = Window(0, 2 * NOW)


@contextmanager
def open_duckdb(folder: Path) -> Iterator[PredictionLog]:
    """Open an empty DuckDB file."""
    database = open_empty_log(folder)
    yield Repository(database)
    database.close()


@contextmanager
def open_memory(folder: Path) -> Iterator[PredictionLog]:
    """Make an empty list of records."""
    yield MemoryLog()


STORES: dict[str, Opener] = {"duckdb": open_duckdb, "memory": open_memory}


@pytest.fixture(params=STORES)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PredictionLog]:
    """Return an empty store of each kind."""
    with STORES[request.param](tmp_path) as log:
        yield log


def batch_of(ends: Sequence[End], *marks: Watermark) -> Batch:
    """Return a batch with foreseeable signals."""
    return Batch(ends, signals_of(ends), (), (), marks)


def test_a_batch_and_its_marks_are_in_together(log: PredictionLog) -> None:
    """What is appended is counted once, and the marks say how far the source is in."""
    mark = Watermark("w0", 1, 500, 3)
    written = log.append(batch_of([end_of(1), end_of(2)], mark), now_us=NOW)
    assert len(written.ends) == 2
    assert log.watermarks() == {"w0": mark}
    assert [row.n for row in log.counts(Scope(ALWAYS))] == [2]


def test_a_batch_sent_twice_is_in_once(log: PredictionLog) -> None:
    """Marks at or behind the stored ones mean that the batch is in already."""
    first = batch_of([end_of(1)], Watermark("w0", 1, 500, 3))
    log.append(first, now_us=NOW)
    assert log.append(first, now_us=NOW).ends == ()
    assert log.append(batch_of([end_of(2)], Watermark("w0", 0, 900)), now_us=NOW).ends == ()
    log.append(batch_of([end_of(3)], Watermark("w0", 1, 501, 4)), now_us=NOW)
    log.append(batch_of([end_of(4)], Watermark("w0", 1, 501, 4, finished=True)), now_us=NOW)
    log.append(batch_of([end_of(5)], Watermark("w1", 0, 1)), now_us=NOW)
    assert [row.n for row in log.counts(Scope(ALWAYS))] == [4]
    assert log.watermarks()["w0"].finished


def test_a_record_is_read_whole(log: PredictionLog) -> None:
    """Facts, tries and feedback of one prediction; None of one that is not there."""
    said = Feedback(id_of(1), NOW + 9, "default", 0.5, "good", None)
    log.append(batch_of([end_of(1), end_of(2)])._replace(feedback=[said]), now_us=NOW)
    found = log.record(id_of(1))
    assert found is not None
    assert (found["id"], found["started_at"], found["model_answered"]) == (id_of(1), NOW + 1, "m-2")
    assert [(a["attempt_no"], a["upstream"]) for a in found["attempt_list"]] == [(1, "primary")]
    assert [(f["score"], f["label"], f["given_at"]) for f in found["feedback"]] == [
        (0.5, "good", NOW + 9)
    ]
    assert log.record(id_of(9)) is None


def test_the_newest_are_found(log: PredictionLog) -> None:
    """A search gives the newest rows of its filter, the oldest of them first."""
    ends = [end_of(i, reason="internal" if i % 2 else None, status=200 + i) for i in range(6)]
    log.append(batch_of(ends), now_us=NOW)
    found = log.search(LogFilter(ALWAYS), limit=2)
    assert [row["id"] for row in found.rows] == [id_of(4), id_of(5)]
    assert found.more
    failed = log.search(LogFilter(ALWAYS, errors=True, statuses=((201, 203),)))
    assert [row["id"] for row in failed.rows] == [id_of(1), id_of(3)]


def test_following_gives_each_row_once(log: PredictionLog) -> None:
    """Pages of any size give what came in later, late rows too, without gaps or doubles."""
    wanted = LogFilter(ALWAYS)
    log.append(batch_of([end_of(5), end_of(4)]), now_us=NOW)
    page = log.search(wanted)
    log.append(batch_of([end_of(1), end_of(7), end_of(6)]), now_us=NOW)
    log.append(batch_of([end_of(2)]), now_us=NOW)
    seen: list[str] = []
    for _ in range(5):
        page = log.following(wanted, page.after, limit=2)
        seen += [row["id"] for row in page.rows]
    assert seen == [id_of(1), id_of(6), id_of(7), id_of(2)]


def test_new_rows_are_read_once(log: PredictionLog) -> None:
    """Reads by batch give every primary row of a route once, late ones too, in whole batches."""
    log.append(batch_of([end_of(5), end_of(4), end_of(6, role="shadow")]), now_us=NOW)
    log.append(batch_of([end_of(9, route="code")]), now_us=NOW)
    log.append(batch_of([end_of(1, ttft_s=None), end_of(7), end_of(3)]), now_us=NOW)
    log.append(batch_of([end_of(2, version="v2", tags=())]), now_us=NOW)
    reads = []
    after = 0
    for _ in range(4):
        found = log.rows_after("chat", ["ttft_s"], after, keys=["version", "tag"], limit=4)
        reads.append((found.batch, found.more, (found.requests.started_at - NOW).tolist()))
        after = found.batch
    assert reads == [(1, True, [4, 5]), (4, False, [1, 3, 7, 2]), (4, False, []), (4, False, [])]
    first = log.rows_after("chat", ["ttft_s", "refusal"], 2, keys=["version", "tag"], limit=1)
    assert (first.batch, first.more) == (3, True)
    np.testing.assert_array_equal(np.asarray(first.requests.columns["ttft_s"]), [np.nan, 0.1, 0.1])
    assert first.requests.columns["refusal"] == [None] * 3
    last = log.rows_after("chat", ["error"], 3, keys=["version", "model", "tag"])
    assert last.requests.columns == {"error": ["false"]}
    assert last.requests.keys == {"version": ["v2"], "model": ["m-2"], "tag": [[]]}
    assert log.rows_after("chat", [], 99).batch == 4


def test_samples_have_the_value(log: PredictionLog) -> None:
    """The newest predictions of a scope whose feature lies in a cell, by range, word or unknown."""
    seconds = [0.5, 1.0, 2.0, None, 1.5]
    ends = [end_of(i, ttft_s=at, finish_reason=str(i % 2)) for i, at in enumerate(seconds)]
    log.append(batch_of(ends), now_us=NOW)
    scope = Scope(ALWAYS, "chat", variant="primary")
    assert log.ids_in(scope, "ttft_s", Among(1.0, 2.0)) == [id_of(4), id_of(1)]
    assert log.ids_in(scope, "ttft_s", Among(high=2.0), limit=1) == [id_of(4)]
    assert log.ids_in(scope, "ttft_s", Among()) == [id_of(3)]
    assert log.ids_in(scope, "finish_reason", Among(value="1")) == [id_of(3), id_of(1)]


def test_columns_are_in_order_of_time(log: PredictionLog) -> None:
    """Columns of a route's primary rows, unknown numbers as NaN, unknown words as None."""
    ends = [end_of(2, ttft_s=None), end_of(1), end_of(3, role="shadow"), end_of(4, route="code")]
    log.append(batch_of(ends), now_us=NOW)
    found = log.feature_columns("chat", ["ttft_s", "finish_reason"], NOW, NOW + 9)
    np.testing.assert_array_equal(np.asarray(found["ttft_s"]), [0.1, np.nan])
    assert found["finish_reason"] == ["stop", "stop"]


def test_counts_outlive_the_facts(log: PredictionLog) -> None:
    """After retention whole slots answer from roll-ups, and the coverage says what was widened."""
    low = NOW - NOW % SLOT_US
    ends = [end_of(i, started_at=low + i * SLOT_US + 7 * SECOND) for i in range(4)]
    log.append(batch_of(ends), now_us=NOW)
    removed = log.apply_retention(Cutoffs(facts_before_us=low + 2 * SLOT_US))
    assert (removed.predictions, removed.attempts) == (2, 2)
    asked = Window(low + 3 * SECOND, low + 4 * SLOT_US)
    coverage = log.coverage(asked)
    assert coverage.window == Window(low, low + 4 * SLOT_US)
    assert sum(row.n for row in log.counts(Scope(asked))) == 4
    assert sum(row.n for row in log.counts(Scope(asked), exact=True)) == 2
    log.apply_retention(Cutoffs(rollups_before_us=low + SLOT_US))
    assert sum(row.n for row in log.counts(Scope(asked))) == 3


def test_a_latency_falls_in_its_bucket(log: PredictionLog) -> None:
    """Numbers are counted in buckets, unknown ones apart."""
    log.append(batch_of([end_of(1, latency_s=2.0), end_of(2, ttft_s=None)]), now_us=NOW)
    latency, ttft = log.values(Scope(ALWAYS), ["latency_s", "ttft_s"])
    assert latency.buckets.tolist() == sorted(b for b in map(bucket_of, (2.0, 0.5)) if b)
    assert [array.dtype.name for array in (latency.buckets, latency.counts)] == ["int32", "int64"]
    assert (ttft.counts.tolist(), ttft.missing) == ([1], 1)


def test_steps_are_slots_of_time(log: PredictionLog) -> None:
    """A step holds what started in it; a length that is no multiple of a slot is refused."""
    hour = 3600 * SECOND
    ends = [end_of(1, started_at=FIRST), end_of(2, started_at=FIRST + hour, reason="internal")]
    log.append(batch_of(ends), now_us=NOW)
    rows = log.timeline(Scope(ALWAYS), hour)
    assert [(row.at, row.n, row.failed) for row in rows] == [(FIRST, 1, 0), (FIRST + hour, 1, 1)]
    if isinstance(log, Repository):
        with pytest.raises(ValueError, match="no multiple"):
            log.timeline(Scope(ALWAYS), SECOND)


def answers_of(log: LogReads, scope: Scope) -> list[object]:
    """Ask for every count of a scope, from roll-ups and from raw rows."""
    found: list[object] = []
    for exact in (False, True):
        found += log.counts(scope, exact=exact)
        found += log.values(scope, MEASURES, exact=exact)
        found += log.categories(scope, CATEGORIES, exact=exact)
        found += log.attempts(scope, exact=exact)
    found += log.timeline(scope, SLOT_US)
    return [tuple(x.tolist() if isinstance(x, np.ndarray) else x for x in row) for row in found]  # type: ignore[attr-defined]


@given(
    records=logs(),
    window=WINDOWS,
    route=st.sampled_from([None, "chat"]),
    role=st.sampled_from([None, "primary"]),
    cutoff=st.none() | TIMES,
)
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_counts_of_any_window_are_those_of_the_records(
    pair: tuple[PredictionLog, MemoryLog, Iterator[int]],
    records: list[tuple[End, Signals]],
    window: tuple[int, int],
    route: str | None,
    role: str | None,
    cutoff: int | None,
) -> None:
    """Integers of every read equal those counted one by one, whatever the window and scope."""
    log, memory, days = pair
    # Every example has a time of its own, so that one store serves them all.
    later = next(days) * 10 * DAY_US
    ends = [moved(end, later) for end, _ in records]
    signals = [said for _, said in records]
    for store in (memory, log):
        store.append(Batch(ends[:5], signals[:5], (), (), ()), now_us=NOW)
        store.append(Batch(ends[5:], signals[5:], (), (), ()), now_us=NOW)
        if cutoff is not None:
            store.apply_retention(Cutoffs(facts_before_us=cutoff + later))
    scope = Scope(Window(window[0] + later, window[1] + later), route, role=role)
    assert log.coverage(scope.window) == memory.coverage(scope.window)
    assert answers_of(log, scope) == answers_of(memory, scope)


@pytest.fixture(params=[name for name in STORES if name != "memory"])
def pair(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[PredictionLog, MemoryLog, Iterator[int]]]:
    """Return a store of each kind, the one to compare it with, and numbers that rise."""
    with STORES[request.param](tmp_path) as log:
        yield log, MemoryLog(), count()
