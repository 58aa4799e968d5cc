"""What became of predictions: feedback joined to them, counted by route and segment.

The join is made once, as a temporary table of the snapshot's transaction; every read after it
counts rows of that table. Of several labels, or scores, of a prediction the newest counts, whoever
gave it and however late it came.
"""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from storage.reader import Window
from storage.rollups.statements import SEGMENT_KEYS
from storage.times import to_timestamp

GRID = 1_000
"""Steps of confidence, 0..1, by which rows are counted."""
MOST_CLASSES = 50
"""Classes, or labels, of a route that are counted, those with most rows."""
MOST_VALUES = 1_000
"""Values of a segment's key that are counted in a route, those with most feedback."""
_GREATEST = 1e100
"""Squares of greater scores and errors are no numbers any more: those are left out."""
_WHOLE = 1e15
"""Up to here 1, 1.0 and, beside a 0 or 1, `true` are one class."""
_LEAST = 1e-15
"""Confidence at least, for logarithms."""

_JOIN = """
CREATE OR REPLACE TEMP TABLE outcomes AS
WITH given AS (
    SELECT prediction_id, arg_max(score, given_at) AS told,
        CASE WHEN abs(told) <= {greatest} THEN told END AS score,
        lower(trim(arg_max("label", given_at))) AS "label", min(given_at) AS first_at
    FROM feedback WHERE given_at >= $1 AND given_at < $2
    GROUP BY prediction_id),
joined AS (
    SELECT route, {keys}, score, confidence, epoch_us(first_at) - epoch_us(started_at) AS delay_us,
        given."label" AS word, lower(trim(prediction)) AS said,
        coalesce(try_cast(said AS DOUBLE), CASE WHEN try_cast(word AS DOUBLE) IN (0, 1)
            THEN CASE said WHEN 'true' THEN 1 WHEN 'false' THEN 0 END END) AS guess,
        coalesce(try_cast(word AS DOUBLE), CASE WHEN try_cast(said AS DOUBLE) IN (0, 1)
            THEN CASE word WHEN 'true' THEN 1 WHEN 'false' THEN 0 END END) AS truth
    FROM given JOIN predictions ON id = prediction_id
    WHERE started_at >= $3 AND started_at < $4 AND role = 'primary' AND ($5 IS NULL OR route = $5))
SELECT * EXCLUDE (word, said),
    CASE WHEN abs(truth) <= {whole} AND truth = round(truth) THEN truth::BIGINT::VARCHAR
        ELSE word END AS "label",
    CASE WHEN abs(guess) <= {whole} AND guess = round(guess) THEN guess::BIGINT::VARCHAR
        ELSE said END AS predicted,
    coalesce(guess = truth, predicted = "label") AS correct,
    CASE WHEN abs(guess - truth) <= {greatest} THEN guess - truth END AS miss
FROM joined
"""


class Asked(NamedTuple):
    """Which feedback is asked for; times are microseconds since the epoch.

    Attributes
    ----------
    given : Window
        When it came in.
    started : Window
        When its prediction began.
    route : str or None
        None is any.
    keys : sequence of str
        Keys of `SEGMENT_KEYS` by which `tallies` may count.
    """

    given: Window
    started: Window
    route: str | None = None
    keys: Sequence[str] = ("variant",)


class Kind(NamedTuple):
    """What the feedback of a route is about.

    Attributes
    ----------
    told : int
        Predictions with any feedback.
    judged, measured : int
        Of them, those with a prediction and a label, and those where both are numbers.
    whole : bool
        All labels are whole numbers, or no numbers.
    labels : int
        Different labels.
    delay_p50_s : float
        Median time from a prediction's start to the first word about it.
    """

    route: str
    told: int
    judged: int
    measured: int
    whole: bool
    labels: int
    delay_p50_s: float


class Tally(NamedTuple):
    """Outcomes of one value of a segment's key.

    Attributes
    ----------
    scored, score, score_variance : int, float, float
        Predictions with a score, its mean and variance (divisor n).
    judged, correct : int
        Predictions with a label, and those that said the same.
    measured, miss, size, size_variance, square : int, float, float, float, float
        Predictions with two numbers; means of prediction less label, of its size with the size's
        variance, and of its square.
    """

    route: str
    value: str
    scored: int
    score: float
    score_variance: float
    judged: int
    correct: int
    measured: int
    miss: float
    size: float
    size_variance: float
    square: float


class ClassCount(NamedTuple):
    """Rows of one class.

    Attributes
    ----------
    labelled, judged, predicted, both : int
        With this label; of them, those with any prediction; with this prediction and any label;
        with this one as both.
    """

    route: str
    name: str
    labelled: int
    judged: int
    predicted: int
    both: int


class GridCount(NamedTuple):
    """Rows of one step of confidence.

    Attributes
    ----------
    step : int
        `confidence * GRID`, rounded down.
    confidence, correct, brier, log_loss : float
        Sums over the rows; the last three are zero where no label is known.
    """

    route: str
    step: int
    n: int
    confidence: float
    correct: float
    brier: float
    log_loss: float


def has_feedback(connection: duckdb.DuckDBPyConnection, given: Window) -> bool:
    """Say whether anything was said in a window at all."""
    found = connection.execute(
        "SELECT 1 FROM feedback WHERE given_at >= $1 AND given_at < $2 LIMIT 1",
        [to_timestamp(given.from_us), to_timestamp(given.to_us)],
    ).fetchone()
    return found is not None


def join(connection: duckdb.DuckDBPyConnection, asked: Asked) -> list[Kind]:
    """Join feedback to its predictions for the reads below; return what it is about, by route."""
    keys = ", ".join(f'{SEGMENT_KEYS[key]} AS "key_{key}"' for key in asked.keys)
    times = (*asked.given, *asked.started)
    connection.execute(
        _JOIN.format(keys=keys, greatest=_GREATEST, whole=_WHOLE),
        [*map(to_timestamp, times), asked.route],
    )
    rows = connection.execute(
        'SELECT route, count(*), count_if(predicted IS NOT NULL AND "label" IS NOT NULL),'
        " count(miss), coalesce(bool_and(truth IS NULL OR truth = round(truth)), true),"
        ' approx_count_distinct("label"), median(delay_us) / 1e6'
        " FROM outcomes GROUP BY route ORDER BY route"
    ).fetchall()
    return [Kind(*row) for row in rows]


def tallies(connection: duckdb.DuckDBPyConnection, key: str) -> list[Tally]:
    """Count outcomes by the values of a key that was joined; a row counts once for each tag."""
    column = f'"key_{key}"'
    source = "outcomes"
    if key == "tag":
        source = f"(SELECT * REPLACE (unnest({column}) AS {column}) FROM outcomes)"  # noqa: S608 (a known key)
    rows = connection.execute(
        f"""
        SELECT route, {column}, count(score), avg(score), var_pop(score),
            count_if(predicted IS NOT NULL AND "label" IS NOT NULL), count_if(correct),
            count(miss), avg(miss), avg(abs(miss)), var_pop(abs(miss)), avg(miss * miss)
        FROM {source} WHERE {column} IS NOT NULL
        GROUP BY route, {column}
        QUALIFY row_number() OVER (PARTITION BY route ORDER BY count(*) DESC) <= {MOST_VALUES}
        ORDER BY route, count(*) DESC, {column}
        """  # noqa: S608 (names of this file)
    ).fetchall()
    return [Tally._make(0.0 if value is None else value for value in row) for row in rows]


def class_counts(connection: duckdb.DuckDBPyConnection) -> list[ClassCount]:
    """Count classes, or labels where nothing was predicted; most rows first."""
    rows = connection.execute(
        f"""
        WITH classes AS (
            SELECT route, "label" AS name, count(*) AS labelled, count(predicted) AS judged,
                0 AS predicted, count_if(correct) AS "both"
            FROM outcomes WHERE "label" IS NOT NULL GROUP BY route, name
            UNION ALL
            SELECT route, CASE WHEN correct THEN "label" ELSE predicted END AS name, 0, 0, count(*),
                0
            FROM outcomes WHERE "label" IS NOT NULL AND predicted IS NOT NULL GROUP BY route, name)
        SELECT route, name, sum(labelled)::BIGINT AS n, sum(judged)::BIGINT,
            sum(predicted)::BIGINT, sum("both")::BIGINT
        FROM classes GROUP BY route, name
        QUALIFY row_number() OVER (PARTITION BY route ORDER BY n DESC, name) <= {MOST_CLASSES}
        ORDER BY route, n DESC, name
        """  # noqa: S608 (a number of this file)
    ).fetchall()
    return [ClassCount(*row) for row in rows]


def labelled_grid(connection: duckdb.DuckDBPyConnection) -> list[GridCount]:
    """Count predictions with a label by their confidence."""
    chance = f"greatest(CASE WHEN correct THEN confidence ELSE 1 - confidence END, {_LEAST})"
    rows = connection.execute(
        f"""
        SELECT route, floor(confidence * {GRID})::INTEGER AS step, count(*), sum(confidence),
            count_if(correct), sum((confidence - correct::INTEGER) ** 2), sum(-ln({chance}))
        FROM outcomes
        WHERE confidence BETWEEN 0 AND 1 AND predicted IS NOT NULL AND "label" IS NOT NULL
        GROUP BY route, step ORDER BY route, step
        """  # noqa: S608 (numbers of this file)
    ).fetchall()
    return [GridCount(*row) for row in rows]


def confidence_grid(
    connection: duckdb.DuckDBPyConnection, window: Window, route: str | None = None
) -> list[GridCount]:
    """Count primary predictions of a window by their confidence, with or without a label."""
    rows = connection.execute(
        f"""
        SELECT route, floor(confidence * {GRID})::INTEGER AS step, count(*), sum(confidence)
        FROM predictions
        WHERE started_at >= $1 AND started_at < $2 AND role = 'primary'
            AND ($3 IS NULL OR route = $3) AND prediction IS NOT NULL
            AND confidence BETWEEN 0 AND 1
        GROUP BY route, step ORDER BY route, step
        """,  # noqa: S608 (a number of this file)
        [to_timestamp(window.from_us), to_timestamp(window.to_us), route],
    ).fetchall()
    return [GridCount._make((*row, 0.0, 0.0, 0.0)) for row in rows]
