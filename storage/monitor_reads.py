"""What a report reads beside counts: verdicts, rollouts, scores; over a snapshot's connection."""

from typing import NamedTuple

import duckdb
import msgspec

from storage.reader import Window
from storage.records import Baseline, Verdict
from storage.state_rows import BASELINE_HEADS, VERDICTS
from storage.times import HOUR_US, from_timestamp, to_timestamp

WRITTEN_US = HOUR_US
"""Quality, spending and performance write a verdict when it changes, and else once an hour."""
STANDS_US = 2 * HOUR_US
"""How long it stands: the look after the hour comes late, too."""
_GREATEST_SCORE = 1e100
"""Squares of greater ones are no numbers any more."""


class RolloutEvent(NamedTuple):
    """One step of a rollout: a row of `rollout_events`."""

    at: int
    route: str
    event: str
    actor: str
    summary: str
    data: dict[str, object]


class ScoreSums(NamedTuple):
    """Scores that people gave to the answers of a variant.

    Attributes
    ----------
    n : int
        Predictions with a score; of several the newest counts.
    mean, variance : float
        Of one prediction, the variance with divisor n.
    """

    route: str
    variant: str
    n: int
    mean: float
    variance: float


def newest_verdicts(
    connection: duckdb.DuckDBPyConnection, window: Window, route: str | None = None
) -> list[Verdict]:
    """Return the last verdict of a window of each route, monitor, segment and feature.

    What was given shortly before stands in it too, of monitors that speak once an hour.
    """
    stands_from = to_timestamp(max(0, window.from_us - STANDS_US))
    return VERDICTS.select(
        connection,
        # The details are large: only the rows that are wanted are read whole.
        'SEMI JOIN (SELECT route, monitor, segment, feature, max("at") AS "at" FROM verdicts'
        " WHERE \"at\" >= $4 AND (\"at\" >= $1 OR monitor NOT IN ('drift', 'slo'))"
        ' AND "at" < $2 AND ($3 IS NULL OR route = $3)'
        " GROUP BY route, monitor, segment, feature) newest"
        ' USING (route, monitor, segment, feature, "at") QUALIFY row_number() OVER ('
        'PARTITION BY route, monitor, segment, feature ORDER BY "at" DESC, id DESC) = 1'
        " ORDER BY route, monitor, segment, feature",
        [to_timestamp(window.from_us), to_timestamp(window.to_us), route, stands_from],
    )


def rollout_events(
    connection: duckdb.DuckDBPyConnection, window: Window, route: str | None = None
) -> list[RolloutEvent]:
    """Return the steps of rollouts of a window, oldest first."""
    rows = connection.execute(
        'SELECT "at", route, event, actor, summary, data FROM rollout_events'
        ' WHERE "at" >= $1 AND "at" < $2 AND ($3 IS NULL OR route = $3) ORDER BY "at", route',
        [to_timestamp(window.from_us), to_timestamp(window.to_us), route],
    ).fetchall()
    return [
        RolloutEvent(from_timestamp(at), of_route, event, actor, summary, msgspec.json.decode(data))
        for at, of_route, event, actor, summary, data in rows
    ]


def scores(
    connection: duckdb.DuckDBPyConnection, window: Window, route: str | None = None
) -> list[ScoreSums]:
    """Add up the scores of primary answers of a window, by route and variant.

    Scores beyond 1e100 are left out: one of them would leave no mean and no variance.
    """
    rows = connection.execute(
        "WITH given AS (SELECT prediction_id, arg_max(score, given_at) AS score FROM feedback"
        " WHERE abs(score) <= $4 GROUP BY prediction_id)"
        " SELECT route, variant, count(*), avg(given.score), var_pop(given.score)"
        " FROM given JOIN predictions ON id = prediction_id"
        " WHERE started_at >= $1 AND started_at < $2 AND ($3 IS NULL OR route = $3)"
        " AND role = 'primary' GROUP BY route, variant ORDER BY route, variant",
        [to_timestamp(window.from_us), to_timestamp(window.to_us), route, _GREATEST_SCORE],
    ).fetchall()
    return [ScoreSums(*row) for row in rows]


def baseline_head(connection: duckdb.DuckDBPyConnection, route: str, label: str) -> Baseline | None:
    """Return a baseline of a route by `name@version`, without its cells; None where it is gone."""
    found = BASELINE_HEADS.select(
        connection, "WHERE route = ? AND name || '@' || version = ?", [route, label]
    )
    return found[0] if found else None


def newest_start(connection: duckdb.DuckDBPyConnection, route: str | None = None) -> int | None:
    """Return when the newest prediction started; None without any."""
    row = connection.execute(
        "SELECT max(started_at) FROM predictions WHERE $1 IS NULL OR route = $1", [route]
    ).fetchone()
    return None if row is None or row[0] is None else from_timestamp(row[0])
