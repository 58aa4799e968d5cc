from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, SECOND, end_of, id_of, signals_of

from storage import reader
from storage.database import Database
from storage.reader import Scope, Window
from storage.records import End, Feedback
from storage.writer import Batch, Loss, write_batch

WINDOW = Window(NOW, NOW + 3_600 * SECOND)
EVERYTHING = Scope(WINDOW)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = open_empty_log(tmp_path)
    yield database
    database.close()


def store(database: Database, ends: Sequence[End], *feedback: Feedback, lost: int = 0) -> None:
    """Write records without a spool."""
    losses = [Loss("w0-1-1", 0, 512, "torn", 0, 28)] * lost
    with database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), feedback, losses, ()), now_us=NOW)


def test_traffic_is_counted_by_variant(database: Database) -> None:
    """Requests, tokens, cost, cache hits and fallbacks add up within route and variant."""
    store(
        database,
        [
            end_of(1),
            end_of(2, cache="hit", cost_usd=0.0),
            end_of(3, variant="candidate", fallback_from="primary", prompt_tokens=None),
        ],
    )
    with database.cursor() as cursor:
        candidate, primary = reader.traffic(cursor, EVERYTHING)
    assert (primary["n"], primary["cache_hits"], primary["prompt_tokens"]) == (2, 1, 20)
    assert primary["cost_usd"] == pytest.approx(0.001)
    assert (candidate["n"], candidate["fallbacks"], candidate["prompt_tokens"]) == (1, 1, None)


def test_failures_are_told_apart(database: Database) -> None:
    """Our failures, the caller's, and clients that left are three counts."""
    store(
        database,
        [
            end_of(1, status=502, reason="upstream_unreachable"),
            end_of(2, status=200, reason="stream_interrupted"),
            end_of(3, status=400, reason="upstream_rejected"),
            end_of(4, status=200, reason="client_closed"),
            end_of(5),
        ],
    )
    with database.cursor() as cursor:
        (found,) = reader.traffic(cursor, EVERYTHING)
    assert (found["n"], found["failed"], found["refused"], found["client_closed"]) == (5, 2, 1, 1)


def test_windows_are_half_open(database: Database) -> None:
    """A row at the start belongs to the window, one at the end to the next."""
    store(database, [end_of(0), end_of(10)])
    with database.cursor() as cursor:
        (found,) = reader.traffic(cursor, Scope(Window(NOW, NOW + 10)))
    assert (found["n"], found["first_at"], found["last_at"]) == (1, NOW, NOW)


@pytest.mark.parametrize(
    ("scope", "n"),
    [
        (Scope(WINDOW, route="other"), 1),
        (Scope(WINDOW, model="m-2"), 2),
        (Scope(WINDOW, variant="canary"), 1),
        (Scope(WINDOW, role=None), 4),
        (Scope(WINDOW, role="shadow"), 1),
    ],
)
def test_a_scope_narrows(database: Database, scope: Scope, n: int) -> None:
    """Route, model, variant and role each choose rows; None is any."""
    store(
        database,
        [
            end_of(1, route="other"),
            end_of(2, model_answered=None, model_asked="x"),
            end_of(3, variant="canary"),
            end_of(4, role="shadow", model_answered="y"),
        ],
    )
    with database.cursor() as cursor:
        assert sum(row["n"] for row in reader.traffic(cursor, scope)) == n


def test_features_are_columns(database: Database) -> None:
    """Numbers are float64 with NaN for unknown, categories lists with None, in one order."""
    store(
        database,
        [end_of(2, prompt_tokens=None, finish_reason=None), end_of(1), end_of(3, role="shadow")],
    )
    names = ("prompt_tokens", "finish_reason", "error", "prompt_chars")
    with database.cursor() as cursor:
        found = reader.feature_columns(cursor, "chat", names, WINDOW)
    np.testing.assert_array_equal(found["prompt_tokens"], [10.0, np.nan])
    np.testing.assert_array_equal(found["prompt_chars"], [10.0, 10.0])
    assert found["finish_reason"] == ["stop", None]
    assert found["error"] == ["false", "false"]


def test_an_empty_window_has_empty_columns(database: Database) -> None:
    """No rows are zero-length columns, not an error."""
    with database.cursor() as cursor:
        found = reader.feature_columns(cursor, "chat", ("ttft_s", "language"), WINDOW)
    assert (len(found["ttft_s"]), found["language"]) == (0, [])


def test_an_unknown_feature_is_named(database: Database) -> None:
    """Only declared columns reach the statement."""
    with database.cursor() as cursor, pytest.raises(KeyError, match="the features are"):
        reader.feature_columns(cursor, "chat", ("1; DROP TABLE features",), WINDOW)


def test_a_record_is_read_whole(database: Database) -> None:
    """Facts, attempts and feedback of one id; None for one that is not there."""
    store(database, [end_of(1)], Feedback(id_of(1), NOW, "t", 1.0))
    with database.cursor() as cursor:
        found = reader.record(cursor, id_of(1))
        assert reader.record(cursor, id_of(2)) is None
    assert found is not None
    assert (found["id"], found["started_at"]) == (id_of(1), NOW + 1)
    assert [a["upstream"] for a in found["attempt_list"]] == ["primary"]
    assert found["feedback"][0]["score"] == 1.0


def test_losses_are_summed_up(database: Database) -> None:
    """What recovery found is counted by kind."""
    store(database, [end_of(1)], lost=2)
    with database.cursor() as cursor:
        assert reader.losses(cursor, WINDOW) == [{"kind": "torn", "n": 2, "frames": 0, "bytes": 56}]
