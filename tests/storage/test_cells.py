from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.empty_log import open_empty_log
from support.log_draws import FIRST, SPAN_US, logs, moved
from support.log_records import NOW, end_of
from support.rollup_log import batch_of, store, tables_of

from storage.database import Database
from storage.reader import Scope, Window
from storage.records import Baseline, End, Signals
from storage.repository import Repository
from storage.rollups.compaction import compact
from storage.rollups.rebuild import rebuild_days
from storage.times import DAY_US, HOUR_US


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = open_empty_log(tmp_path)
    yield database
    database.close()


@pytest.fixture
def spans(database: Database) -> tuple[Database, Iterator[int]]:
    """Return a database and numbers that rise: each example has a time of its own."""
    return database, iter(range(1, 1_000))


BASELINE = Baseline(
    "week",
    1,
    NOW,
    NOW - 10,
    NOW,
    "chat",
    10,
    {"latency_s": {"cells": {"kind": "numeric", "edges": [0.1, 1.0]}}},
)


def test_cells_are_counted_from_two_days_before_their_baseline(database: Database) -> None:
    """Rows of 48 hours before count once, later ones with their batch; older windows have none."""
    log = Repository(database)
    early = end_of(1, started_at=NOW - HOUR_US, latency_s=0.05)
    store(database, [early, end_of(2, started_at=NOW - 50 * HOUR_US)])
    log.save_baseline(BASELINE)
    store(database, [end_of(3, latency_s=1.0), end_of(4, role="shadow"), end_of(5, route="code")])
    store(database, [end_of(6, latency_s=-1.0), end_of(7, reason="interrupted")])
    scope = Scope(Window(NOW - 2 * HOUR_US, NOW + HOUR_US), "chat")
    assert log.cells(scope, "week@1") == {"latency_s": {0: 2, 2: 1, 4: 1}}
    assert log.cells(scope._replace(window=Window(NOW - 60 * HOUR_US, NOW)), "week@1") == {}
    assert log.cells(scope, "week@2") == {}


def test_cells_follow_the_newest_baseline(database: Database) -> None:
    """A newer baseline takes over; dropping it brings the one before back; both count all rows."""
    log = Repository(database)
    log.save_baseline(BASELINE)
    store(database, [end_of(1, latency_s=0.5)])
    newer = msgspec.structs.replace(
        BASELINE,
        name="other",
        created_at=NOW + 1,
        cells={"language": {"cells": {"top": ["de"], "rest": [], "complete": True}}},
    )
    log.save_baseline(newer)
    store(database, [end_of(2, latency_s=0.5)])
    scope = Scope(Window(NOW - HOUR_US, NOW + HOUR_US), "chat")
    assert log.cells(scope, "other@1") == {"language": {2: 2}}
    assert log.cells(scope, "week@1") == {}
    log.drop_baseline("chat", "other")
    store(database, [end_of(3, latency_s=0.5)])
    assert log.cells(scope, "week@1") == {"latency_s": {1: 3}}
    before = tables_of(database, 0, 2 * NOW)
    with database.cursor() as cursor:
        rebuild_days(cursor, NOW - NOW % HOUR_US - DAY_US, NOW - NOW % HOUR_US + DAY_US)
    assert tables_of(database, 0, 2 * NOW) == before


def test_earlier_rows_are_counted_in_slices(database: Database) -> None:
    """A baseline over many rows is counted back batch by batch; late rows between are in once."""
    log = Repository(database)
    first = NOW - NOW % HOUR_US - 9 * HOUR_US
    store(database, [end_of(0, started_at=first)])
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO predictions SELECT predictions.* REPLACE (uuid() AS id,"
            " started_at + INTERVAL 1 SECOND * (i // 2) AS started_at) FROM predictions,"
            " range(1, 60000) numbers(i)"
        )
        rebuild_days(cursor, first, first + 9 * HOUR_US)
    log.save_baseline(BASELINE)
    young = Scope(Window(first + 6 * HOUR_US, NOW + HOUR_US), "chat")
    whole = Scope(Window(first - HOUR_US, NOW + HOUR_US), "chat")
    found = []
    for number in range(1, 4):
        store(database, [end_of(number), end_of(100 + number, started_at=first + number)])
        found.append(
            [
                sum(log.cells(scope, "week@1").get("latency_s", {}).values())
                for scope in (young, whole)
            ]
        )
    assert found == [[16_801, 0], [16_802, 0], [16_803, 60_006]]
    with database.cursor() as cursor:
        assert not compact(cursor, first)


def segmented(database: Database, listed: list[str], features: dict[str, object]) -> Repository:
    """Set a baseline whose features know some segments; return the log."""
    cells = {
        name: {"cells": kept, "segments": {key: [1] for key in listed}}
        for name, kept in features.items()
    }
    log = Repository(database)
    log.save_baseline(msgspec.structs.replace(BASELINE, cells=cells))
    return log


def test_cells_are_counted_by_segment(database: Database) -> None:
    """Values that the baseline tells apart have segments, others share one, unknown ones none."""
    known = ["variant=a", "variant=b", "tag=x", "tag=it's", "version=(other)"]
    edges: dict[str, object] = {"latency_s": {"edges": [1.0]}}
    store(database, [end_of(1, variant="a", tags=("x", "it's", "n", "m"), latency_s=2.0)])
    log = segmented(database, known, edges)
    store(
        database,
        [end_of(2, variant="c", tags=(), version="v9"), end_of(3, variant="a", tags=("m",))],
    )
    scope = Scope(Window(NOW - HOUR_US, NOW + HOUR_US), "chat")
    wanted: dict[str, dict[int, int]] = {
        "": {0: 2, 1: 1},
        "variant=a": {0: 1, 1: 1},
        "variant=(other)": {0: 1},
        "tag=x": {1: 1},
        "tag=it's": {1: 1},
        "tag=(other)": {0: 1, 1: 1},
        "version=(other)": {0: 1},
    }
    ragged = scope._replace(window=Window(NOW - 7 * HOUR_US + 1, NOW + 1_000))
    for asked in (scope, ragged):
        found = {one: log.cells(asked, "week@1", segment=one) for one in [*wanted, "variant=b"]}
        assert found == {one: {"latency_s": counts} for one, counts in wanted.items()} | {
            "variant=b": {}
        }


@given(records=logs(), cut=st.integers(0, 12), look=st.integers(0, 60))
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_segments_added_up_equal_those_rebuilt(
    spans: tuple[Database, Iterator[int]], records: list[tuple[End, Signals]], cut: int, look: int
) -> None:
    """Cells of segments are the same whatever the batches; a rebuild changes nothing."""
    database, days = spans
    later = next(days) * DAY_US * 10
    listed = ["variant=primary", "language=en", "model=m-2"]
    features: dict[str, object] = {
        "latency_s": {"edges": [0.5, 5.0]},
        "finish_reason": {"top": ["stop"], "rest": [], "complete": True},
    }
    log = segmented(database, listed, features)
    records = [(moved(end, later), said) for end, said in records]
    for part in (records[:cut], records[cut:]):
        log.append(batch_of(part), now_us=NOW)
        with database.cursor() as cursor:
            compact(cursor, FIRST + later + look * HOUR_US)
    primary = [
        (end.prediction, said)
        for end, said in records
        if (end.prediction.route, end.prediction.role) == ("chat", "primary")
    ]
    scope = Scope(Window(FIRST + later, FIRST + later + SPAN_US), "chat")
    for segment, rows in {
        "variant=primary": [p for p, _ in primary if p.variant == "primary"],
        "variant=(other)": [p for p, _ in primary if p.variant != "primary"],
        "language=(other)": [p for p, said in primary if said.language == "de"],
        "model=m-2": [p for p, _ in primary if p.model_answered == "m-2"],
    }.items():
        stops = sum(p.finish_reason == "stop" for p in rows)
        found = log.cells(scope, "week@1", segment=segment)
        assert found.get("finish_reason", {}).get(0, 0) == stops
        assert sum(found.get("latency_s", {}).values()) == len(rows)
    before = tables_of(database, FIRST + later, FIRST + later + SPAN_US)
    with database.cursor() as cursor:
        rebuild_days(cursor, FIRST + later, FIRST + later + SPAN_US)
    assert tables_of(database, FIRST + later, FIRST + later + SPAN_US) == before
