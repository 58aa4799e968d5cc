"""Hourly counts written with the facts: what a report reads instead of every row.

A batch appends integer deltas; `compact_rollups` adds up the deltas of hours that are over.
Latencies are counted in logarithmic buckets of 1 % relative error (Masson, Rim and Lee,
"DDSketch", VLDB 2019): bucket = round(50.5 ln(milliseconds)).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import exp, isfinite, log
from typing import NamedTuple

import duckdb

from storage.records import End, Prediction
from storage.rows import INTERRUPTED, Row, model_of
from storage.times import HOUR_US, to_timestamp

BUCKETS_PER_E = 50.5
_SHORTEST_MS = 0.001
_SUMS = 9


class Deltas(NamedTuple):
    """What one batch adds: rows of `rollup_counts` and of `rollup_latency`."""

    counts: list[Row]
    latency: list[Row]


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration; below a microsecond all are one bucket."""
    return round(log(max(seconds * 1000.0, _SHORTEST_MS)) * BUCKETS_PER_E)


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket, within 1 % of every duration counted in it."""
    return exp(bucket / BUCKETS_PER_E) / 1000.0


def deltas(ends: Iterable[End]) -> Deltas:
    """Add up a batch."""
    counts: dict[Row, list[float]] = {}
    latency: Counter[Row] = Counter()
    for end in ends:
        prediction = end.prediction
        hour = prediction.started_at // HOUR_US
        sums = counts.setdefault(_counts_key(hour, prediction), [0] * _SUMS)
        for place, value in enumerate(_sums(prediction)):
            sums[place] += value
        for measure, seconds in _durations(prediction):
            latency[
                hour,
                prediction.route,
                prediction.variant,
                prediction.upstream,
                prediction.role,
                measure,
                bucket_of(seconds),
            ] += 1
    hours = {key[0]: to_timestamp(int(str(key[0])) * HOUR_US) for key in counts}
    return Deltas(
        [(hours[key[0]], *key[1:], *sums) for key, sums in counts.items()],
        [(hours[key[0]], *key[1:], n) for key, n in latency.items()],
    )


def _counts_key(hour: int, prediction: Prediction) -> Row:
    return (
        hour,
        prediction.route,
        prediction.variant,
        prediction.upstream,
        model_of(prediction),
        prediction.role,
        prediction.cache,
        prediction.status // 100,
        prediction.reason or "",
        prediction.fallback_from is not None,
    )


def _sums(prediction: Prediction) -> tuple[float, ...]:
    return (
        1,
        prediction.attempts,
        prediction.prompt_tokens or 0,
        prediction.response_tokens or 0,
        prediction.cached_tokens or 0,
        prediction.reasoning_tokens or 0,
        prediction.cost_usd or 0.0,
        prediction.request_bytes,
        prediction.response_bytes,
    )


def _durations(prediction: Prediction) -> Iterator[tuple[str, float]]:
    if prediction.reason == INTERRUPTED:
        return
    if isfinite(prediction.latency_s):
        yield "latency", prediction.latency_s
    if prediction.ttft_s is not None and isfinite(prediction.ttft_s):
        yield "ttft", prediction.ttft_s
    if isfinite(prediction.overhead_s):
        yield "overhead", prediction.overhead_s


_COUNT_KEYS = "hour, route, variant, upstream, model, role, cache, status_class, reason, fallback"
_COUNT_SUMS = ", ".join(
    f"sum({name})"
    for name in (
        "n", "attempts", "prompt_tokens", "response_tokens", "cached_tokens",
        "reasoning_tokens", "cost_usd", "request_bytes", "response_bytes",
    )
)  # fmt: skip
_LATENCY_KEYS = "hour, route, variant, upstream, role, measure, bucket"
_TABLES = (
    ("rollup_counts", _COUNT_KEYS, _COUNT_SUMS),
    ("rollup_latency", _LATENCY_KEYS, "sum(n)"),
)


def compact_rollups(connection: duckdb.DuckDBPyConnection, *, from_us: int, before_us: int) -> None:
    """Add up the deltas of the whole hours in a window, in one transaction; totals stay."""
    span = [to_timestamp(at_us - at_us % HOUR_US) for at_us in (from_us, before_us)]
    within = "WHERE hour >= ? AND hour < ?"
    connection.begin()
    try:
        for table, keys, sums in _TABLES:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE added_up AS SELECT {keys}, {sums} FROM {table}"  # noqa: S608 (names of this file)
                f" {within} GROUP BY {keys}",
                span,
            )
            connection.execute(f"DELETE FROM {table} {within}", span)  # noqa: S608 (as above)
            connection.execute(f"INSERT INTO {table} FROM added_up")
        connection.execute("DROP TABLE added_up")
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        raise
