from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple
from support.empty_log import open_empty_log
from support.log_records import NOW, end_of, id_of

from storage.columns import attempt_arrays, feedback_arrays, insert, prediction_arrays
from storage.records import Attempt, End, Feedback, Prediction, Signals
from storage.rows import Place
from storage.times import to_timestamp

LAST = 2**63 - 1
TEXT = st.text(max_size=4)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, LAST)
FACTS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 99).map(id_of),
        "started_at": st.integers(0, NOW * 2),
        "route": TEXT,
        "status": st.integers(0, 999),
        "latency_s": NUMBER,
        "stream": st.booleans(),
        "tags": st.lists(TEXT, max_size=2).map(tuple),
        "pair_id": st.none() | st.integers(0, 99).map(id_of),
        "reason": st.none() | TEXT,
        "prompt_tokens": st.none() | COUNT,
        "cost_usd": st.none() | NUMBER,
        "tool_calls": st.none() | st.integers(0, 9),
    }
)
SIGNALS = st.builds(
    Signals,
    id=st.just(""),
    prompt_chars=st.none() | COUNT,
    language=st.none() | TEXT,
    answer_language=st.none() | TEXT,
    refusal=st.none() | st.booleans(),
    json_valid=st.none() | st.booleans(),
    prediction=st.none() | TEXT,
)
PLACE = st.just(Place(None, None, None)) | st.builds(Place, TEXT, COUNT, COUNT)
ROWS = st.lists(st.tuples(FACTS, SIGNALS, PLACE, st.booleans()), min_size=1, max_size=4)
PER_RUN = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a connection to an empty log."""
    database = open_empty_log(tmp_path)
    with database.cursor() as cursor:
        yield cursor
    database.close()


def written(cursor: duckdb.DuckDBPyConnection, table: str, arrays: Any) -> list[tuple[Any, ...]]:
    """Insert columns, return the table and take them out again."""
    cursor.begin()
    insert(cursor, table, arrays)
    found = cursor.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 (names of this file)
    cursor.rollback()
    return found


def plain(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return fields of records as the database gives them back."""
    return tuple(str(value) if isinstance(value, UUID) else value for value in values)


@PER_RUN
@given(rows=ROWS)
def test_every_value_comes_back(cursor: duckdb.DuckDBPyConnection, rows: list[Any]) -> None:
    """Text of any characters, unknown and largest numbers, known and unknown side by side."""
    ends = [end_of(1, text=text, **facts) for facts, _, _, text in rows]
    signals, places = [row[1] for row in rows], [row[2] for row in rows]
    found = written(cursor, "predictions", prediction_arrays(ends, signals, places, 7))
    for row, end, signal, place in zip(found, ends, signals, places, strict=True):
        facts: Prediction = end.prediction
        expected = list(astuple(facts))
        expected[1] = to_timestamp(facts.started_at)
        expected[Prediction.__struct_fields__.index("tags")] = list(facts.tags)
        if facts.prediction is None:
            expected[Prediction.__struct_fields__.index("prediction")] = signal.prediction
        assert plain(row) == (
            *expected,
            signal.prompt_chars,
            signal.response_chars,
            signal.language,
            signal.refusal,
            7,
            *place,
            end.payload is not None,
            None,
            signal.json_valid,
            None,
            None,
            signal.answer_language,
        )


def test_attempts_come_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """Every try of every record has a row, with what is unknown of it."""
    tries = (Attempt(1, "a", NOW, 0.1, None, "timeout"), Attempt(2, "b", NOW, 0.2, 200, None, 0.1))
    ends = [End(end_of(number).prediction, tries[:number]) for number in range(3)]
    found = written(cursor, "attempts", attempt_arrays(ends, 7))
    at = to_timestamp(NOW)
    assert [plain(row) for row in found] == [
        (id_of(1), "primary", "chat", 1, "a", at, 0.1, None, "timeout", None, 7),
        (id_of(2), "primary", "chat", 1, "a", at, 0.1, None, "timeout", None, 7),
        (id_of(2), "primary", "chat", 2, "b", at, 0.2, 200, None, 0.1, 7),
    ]


def test_feedback_comes_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """Score, label and comment, each known or not."""
    said = [Feedback(id_of(1), NOW, "t", 0.5), Feedback(id_of(2), NOW, "t", None, "good", "hm")]
    found = written(cursor, "feedback", feedback_arrays(said, 7))
    assert [plain(row) for row in found] == [
        (id_of(1), to_timestamp(NOW), "t", 0.5, None, None, 7),
        (id_of(2), to_timestamp(NOW), "t", None, "good", "hm", 7),
    ]


def test_nothing_is_written_of_nothing(cursor: duckdb.DuckDBPyConnection) -> None:
    """Records that were never tried, and no feedback, are no rows."""
    assert written(cursor, "attempts", attempt_arrays([End(end_of(1).prediction)], 7)) == []
    assert written(cursor, "feedback", feedback_arrays([], 7)) == []


@pytest.mark.parametrize("facts", [{"prompt_tokens": LAST + 1}, {"started_at": LAST}])
def test_a_number_that_fits_no_column_is_told(facts: dict[str, Any]) -> None:
    """It is found before anything is written."""
    with pytest.raises(OverflowError):
        prediction_arrays([end_of(1, **facts)], [Signals("")], [Place(None, None, None)], 7)
