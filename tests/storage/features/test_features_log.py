import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.log_archive import ArchivedLog
from support.log_records import NOW, SegmentWriter, end_of, id_of, now_us

from storage.archive.offline import open_offline
from storage.database import Database
from storage.features.registry import add_schemas, all_schemas
from storage.features.schema import VERSIONS, Field, Schema
from storage.ingest import Ingester
from storage.lifecycle.compaction import compact
from storage.lifecycle.forget import ForgetRequest, forget
from storage.log import Cutoffs
from storage.new_rows import Among
from storage.reader import Scope, Window
from storage.records import Baseline, End, InputRow, Signals
from storage.repository import Repository
from storage.rollups.rebuild import rebuild_days
from storage.rollups.statements import CATEGORIES, VALUES
from storage.text.archive import TextArchive
from storage.times import HOUR_US
from storage.writer import Batch

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sql.md").read_text()
WINDOW = (NOW, NOW + 1_000)
HOUR = NOW - NOW % HOUR_US
ROWS: Sequence[Sequence[InputRow]] = [
    [{"age": 30, "plan": "basic", "active": True}],
    [{"age": 31.5, "plan": "pro", "active": False}, {"age": 7, "plan": None}],
    [{"plan": "pro", "income": 1e5}],
    [{"age": "unknown", "plan": "pro", "active": True}],
    [{"age": 44, "plan": "basic", "active": True}],
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = Database.open(tmp_path, now_us=now_us)
    yield database
    database.close()


def asked(number: int, **facts: object) -> End:
    """Return a record of a predictive model."""
    facts = {"model_asked": "churn", "model_answered": None, "route": "churn", **facts}
    return end_of(number, text=False, protocol="other", **facts)


def store(log: Repository, first: int, rows: Sequence[Sequence[Any]], **facts: object) -> Batch:
    """Write records with inputs in one batch."""
    ends = [asked(first + place, **facts) for place in range(len(rows))]
    said = [Signals(end.prediction.id, inputs=one) for end, one in zip(ends, rows, strict=True)]
    return log.append(Batch(ends, said, (), (), ()), now_us=NOW)


def query(database: Database, sql: str) -> list[tuple[object, ...]]:
    """Run a query."""
    with database.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def counted(database: Database) -> list[list[tuple[object, ...]]]:
    """Return the inputs of the roll-ups, added up."""
    return [
        query(
            database,
            f"SELECT {rollup.keys}, sum(n)::INTEGER FROM {rollup.table}"  # noqa: S608 (our names)
            f" WHERE starts_with({name}, 'input.') GROUP BY ALL ORDER BY ALL",
        )
        for rollup, name in ((VALUES, "measure"), (CATEGORIES, "feature"))
    ]


def test_schemas_evolve(database: Database) -> None:
    """New, widened, retyped and missing features make versions; what was known makes none."""
    log = Repository(database)
    for number, rows in enumerate(ROWS):
        assert store(log, number * 10, [rows]).losses == ()
    with database.cursor() as cursor:
        found = all_schemas(cursor)
    assert [[(one.name, one.type) for one in schema.fields] for schema in found] == [
        [("age", "BIGINT"), ("plan", "VARCHAR"), ("active", "BOOLEAN")],
        [("age", "DOUBLE"), ("plan", "VARCHAR"), ("active", "BOOLEAN")],
        [("age", "DOUBLE"), ("plan", "VARCHAR"), ("active", "BOOLEAN"), ("income", "DOUBLE")],
        [
            ("age", "DOUBLE"),
            ("plan", "VARCHAR"),
            ("active", "BOOLEAN"),
            ("income", "DOUBLE"),
            ("age", "VARCHAR"),
        ],
    ]
    columns = log.feature_columns("churn", ["input.age", "input.plan", "prompt_tokens"], *WINDOW)
    np.testing.assert_equal(columns["input.age"], [30, 31.5, 7, np.nan, np.nan, 44])
    assert columns["input.plan"] == ["basic", "pro", None, "pro", "pro", "basic"]
    np.testing.assert_equal(columns["prompt_tokens"], [10.0] * 6)
    flags = log.feature_columns("churn", ["input.active"], *WINDOW)["input.active"]
    assert flags == ["true", "false", None, None, "true", "true"]
    shown = query(database, "SELECT features.age, features.age_2, row_no FROM inputs_churn")
    assert shown[1:5] == [(31.5, None, 0), (7, None, 1), (None, None, 0), (None, "unknown", 0)]


def test_new_rows_have_their_inputs(database: Database) -> None:
    """Inputs have rows of their own with the keys of their predictions; unknown names are none."""
    log = Repository(database)
    store(log, 0, ROWS[:2])
    store(log, 10, ROWS[1:3], version="v2")
    names = ["input.age", "input.plan", "latency_s", "input.never"]
    found = log.rows_after("churn", names, 1, keys=["version", "tag"])
    assert list(found.requests.columns) == ["latency_s"]
    assert found.requests.keys["version"] == ["v2", "v2"]
    np.testing.assert_equal(found.inputs.columns["input.age"], [31.5, 7, np.nan])
    assert found.inputs.columns["input.plan"] == ["pro", None, "pro"]
    assert found.inputs.keys == {"version": ["v2"] * 3, "tag": [["a", "b"]] * 3}
    assert (found.inputs.started_at - NOW).tolist() == [10, 10, 11]
    assert len(log.rows_after("churn", names, 0).inputs.started_at) == 6
    assert log.rows_after("churn", ["input.never"], 0).inputs.columns == {}
    scope = Scope(Window(*WINDOW), "churn", model="churn")
    assert log.ids_in(scope, "input.age", Among(0, 31)) == [id_of(10), id_of(1), id_of(0)]
    assert log.ids_in(scope, "input.plan", Among(value="basic")) == [id_of(0)]
    assert log.ids_in(scope, "input.never", Among()) == []


def test_cells_of_inputs_are_counted(database: Database) -> None:
    """Inputs that a baseline has are counted over its cells, of a batch, a rebuild and an edge."""
    log = Repository(database)
    store(log, 0, ROWS[:2])
    cells = {
        "input.age": {"cells": {"edges": [10, 31]}, "segments": {"version=v2": [1]}},
        "input.plan": {"cells": {"top": ["basic"], "rest": ["pro"], "complete": True}},
        "input.never": {"cells": {"edges": [0]}},
        "latency_s": {"cells": {"edges": [0]}},
    }
    log.save_baseline(Baseline("b", 1, NOW, NOW, NOW, "churn", 9, cells))
    store(log, 10, ROWS[1:4], version="v2")
    store(log, 20, [[{"other": 1}]], model_asked="another")
    whole = Scope(Window(HOUR, HOUR + HOUR_US), "churn")
    for scope in (whole, whole._replace(window=Window(NOW, NOW + 1_000))):
        assert log.cells(scope, "b@1") == {
            "input.age": {0: 2, 1: 1, 2: 2, 4: 2},
            "input.plan": {0: 1, 1: 4, 3: 2},
            "input.never": {3: 7},
            "latency_s": {1: 6},
        }
        assert log.cells(scope, "b@1", segment="version=v2")["input.age"] == {0: 1, 2: 1, 4: 2}
    with database.cursor() as cursor:
        before = cursor.execute(
            "SELECT * EXCLUDE n, sum(n) FROM rollup_segments GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        rebuild_days(cursor, HOUR, HOUR + HOUR_US)
        after = cursor.execute(
            "SELECT * EXCLUDE n, sum(n) FROM rollup_segments GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert after == before


def test_the_page_shows_a_query_that_runs(database: Database) -> None:
    """The example of docs/sql.md is answered from all versions."""
    found = re.search(r"^```sql inputs\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    log = Repository(database)
    for number, rows in enumerate(ROWS):
        store(log, number * 10, [rows])
    assert query(database, found.group(1)) == [("pro", 3, 31.5), ("basic", 2, 37), (None, 1, 7)]


def test_rows_are_of_the_batch(database: Database) -> None:
    """What is rejected leaves no inputs; the others are there once, with their batch's number."""
    log = Repository(database)
    ends = [asked(1), asked(2, started_at=1 << 62), asked(3)]
    said = [Signals(end.prediction.id, inputs=[{"a": 1}]) for end in ends]
    written = log.append(Batch(ends, said, (), (), ()), now_us=NOW)
    assert [loss.kind for loss in written.losses] == ["rejected"]
    rows = query(database, "SELECT prediction_id::VARCHAR, batch FROM features_churn_1 ORDER BY 1")
    assert rows == query(database, "SELECT id::VARCHAR, batch FROM predictions ORDER BY 1")
    assert [row[0] for row in rows] == [id_of(1), id_of(3)]


VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=3),
    st.just("x" * 400),
)
INPUTS = st.lists(st.dictionaries(st.sampled_from(["a", "A", "b c", ""]), VALUE, max_size=3))


@given(st.lists(st.lists(INPUTS, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_counted_equals_rebuilt_equals_exact(
    database: Database, batches: list[list[list[InputRow]]]
) -> None:
    """Whatever comes in, a batch's counts are those of the rows, and a rebuild gives the same."""
    log = Repository(database)
    for rows in batches:
        store(log, 0, rows, started_at=HOUR + 1)
    before = counted(database)
    with database.cursor() as cursor:
        rebuild_days(cursor, HOUR, HOUR + HOUR_US)
    assert counted(database) == before
    scope, names = Scope(Window(HOUR, HOUR + HOUR_US)), ["input.a", "input.b c"]
    for slots, raw in zip(
        log.values(scope, names), log.values(scope, names, exact=True), strict=True
    ):
        assert (slots.measure, slots.missing) == (raw.measure, raw.missing)
        np.testing.assert_array_equal(slots.buckets, raw.buckets)
        np.testing.assert_array_equal(slots.counts, raw.counts)
    assert log.categories(scope, names) == log.categories(scope, names, exact=True)
    total = query(
        database,
        "SELECT coalesce(sum(n), 0)::INTEGER FROM rollup_values"
        " WHERE starts_with(measure, 'input.')",
    )
    numbers = [
        f"SELECT count(*) FROM {schema.table}"  # noqa: S608 (our names)
        for schema in _schemas(database)
        for field in schema.fields
        if field.kind == "DOUBLE"
    ]
    assert total[0][0] == sum(int(str(query(database, one)[0][0])) for one in numbers)


def _schemas(database: Database) -> list[Schema]:
    with database.cursor() as cursor:
        return all_schemas(cursor)


def test_hostile_names(database: Database) -> None:
    """Quotes, reserved words, other scripts and case are kept; the rest is counted as a loss."""
    log = Repository(database)
    names = ['a"b', "a'b", "select", "Age", "age", "AGE", "возраст", "1", "a;--", "x" * 128]
    row: InputRow = {name: float(number) for number, name in enumerate(names)}
    written = store(log, 0, [[{**row, "": 1, "n" * 10_000: 1, "a\x00": 2}]], model_asked="m\"'; x")
    assert [(loss.kind, loss.frames) for loss in written.losses] == [("unfit_features", 1)]
    columns = log.feature_columns("churn", [f"input.{name}" for name in names], *WINDOW)
    assert [list(column) for column in columns.values()] == [[n] for n in map(float, range(10))]
    counts = log.values(Scope(Window(*WINDOW)), [f"input.{name}" for name in names])
    assert [(one.measure, one.counts.tolist()) for one in counts] == [
        (f"input.{name}", [1]) for name in sorted(names)
    ]


def test_random_keys_are_bounded(database: Database) -> None:
    """Once there is no further version, what is unknown is a loss and the rest is kept."""
    log = Repository(database)
    store(log, 0, [[{"kept": 1}]])
    newest = Schema(
        "churn", VERSIONS, f"features_churn_{VERSIONS}", (Field("kept", "DOUBLE", "kept"),)
    )
    with database.cursor() as cursor:
        add_schemas(cursor, [newest], NOW)
    written = store(log, 10, [[{"kept": 2.5, f"key-{n}": n}] for n in range(3)] + [[{"kept": 4}]])
    assert [(loss.kind, loss.frames) for loss in written.losses] == [("unfit_features", 3)]
    column = log.feature_columns("churn", ["input.kept"], *WINDOW)["input.kept"]
    np.testing.assert_equal(column, [1, 2.5, 2.5, 2.5, 4])
    with pytest.raises(KeyError, match="no model was asked"):
        log.feature_columns("churn", ["input.key-0"], *WINDOW)


def test_twenty_features_are_cheap(database: Database) -> None:
    """A record's inputs cost a few tens of microseconds at most, on a busy machine too."""
    log, draw = Repository(database), random.Random(1)
    rows = [[{f"f{n}": draw.random() for n in range(20)}] for _ in range(2_000)]
    store(log, 0, rows)
    started = time.process_time()
    store(log, 2_000, [[] for _ in rows])
    without = time.process_time() - started
    store(log, 4_000, rows)
    assert time.process_time() - started - 2 * without < 2_000 * 100e-6


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[ArchivedLog]:
    """Return a log with an archive whose every record has inputs, three versions of them."""
    log = ArchivedLog(tmp_path)
    writer = SegmentWriter(log.spool)
    log.ingester = Ingester(log.database, log.spool, enrich=with_inputs, now_us=log.now_us)
    for number in range(3):
        writer.ends([number])
        log.drain()
    writer.die()
    log.drain()
    log.archive.archive_now()
    yield log
    log.database.close()


def with_inputs(ends: Sequence[End]) -> list[Signals]:
    """Give each record the row of its number."""
    return [
        Signals(end.prediction.id, inputs=ROWS[end.prediction.started_at - NOW]) for end in ends
    ]


def shown(database: Database) -> list[tuple[object, ...]]:
    """Return the inputs over all versions, as their view has them."""
    return query(database, "SELECT prediction_id, row_no, features FROM inputs_m_2 ORDER BY ALL")


def test_a_lost_file_comes_back_with_its_inputs(archived: ArchivedLog) -> None:
    """Tables, versions, rows, counts and views are what they were; the next version goes on."""
    before, rows = archived.dump(), shown(archived.database)
    archived.lose_the_file()
    assert archived.restored is not None
    assert "features_m_2_3" in before
    after = archived.dump()
    assert {name: after[name] for name in after if name != "log_state"} == {
        name: before[name] for name in before if name != "log_state"
    }
    assert shown(archived.database) == rows
    store(archived.repository, 10, [[{"more": 1}]], model_answered="m-2")
    assert [schema.version for schema in _schemas(archived.database)] == [1, 2, 3, 4]


def test_inputs_are_read_offline(archived: ArchivedLog) -> None:
    """The archive's files answer as the database does."""
    names = ["input.age", "input.plan"]
    expected = archived.repository.feature_columns("chat", names, *WINDOW)
    offline = open_offline(archived.data_dir)
    found = Repository(offline.database).feature_columns("chat", names, *WINDOW)
    np.testing.assert_equal(found, expected)
    assert shown(offline.database) == shown(archived.database)
    offline.database.close()


def test_compaction_keeps_inputs(archived: ArchivedLog) -> None:
    """Tables and views are in the copy."""
    rows = shown(archived.database)
    compact(archived.database, now_us=archived.now, pause=nullcontext)
    assert shown(archived.database) == rows


def test_forgetting_reaches_inputs(archived: ArchivedLog) -> None:
    """Rows of a forgotten prediction leave the database and the archive for good."""
    text = TextArchive(archived.database, archived.spool, archived.now_us)
    request = ForgetRequest(ids=[id_of(1)])
    forget(archived.database, (text, archived.archive), request, now_us=archived.now)
    left = shown(archived.database)
    assert [str(row[0]) for row in left] == [id_of(0), id_of(2)]
    archived.lose_the_file()
    assert shown(archived.database) == left


def test_retention_reaches_inputs(archived: ArchivedLog) -> None:
    """Rows go with their predictions; counts stay."""
    before = counted(archived.database)
    archived.repository.apply_retention(Cutoffs(facts_before_us=NOW + 2))
    assert [str(row[0]) for row in shown(archived.database)] == [id_of(2)]
    assert counted(archived.database) == before
