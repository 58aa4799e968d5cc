"""Variants side by side: how far each lies from the largest one of its route, with an interval."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.report.model import Traffic
from monitors.report.parts import Difference
from stats.buckets import Sketch, middles
from stats.errors import NotEnoughSamples
from stats.results import Measurement
from stats.sequences import Moments, mean_difference, share_difference
from storage.log import ValueCounts
from storage.monitor_reads import ScoreSums

MEASURES = ("latency_s", "ttft_s", "prompt_tokens", "response_tokens")

Key = tuple[str, str]
"""Route and variant."""


class _Arm(NamedTuple):
    """A variant and what is known of its rows, by measure."""

    row: Traffic
    means: Mapping[str, Moments]


def routes_with_variants(traffic: Sequence[Traffic]) -> list[str]:
    """Return the routes whose primary requests went to several variants."""
    routes = [row.route for row in traffic if row.role == "primary"]
    return sorted({route for route in routes if routes.count(route) > 1})


def differences_of(
    traffic: Sequence[Traffic], values: Sequence[ValueCounts], scores: Sequence[ScoreSums]
) -> tuple[Difference, ...]:
    """Compare every variant with the one of its route that had most requests.

    Means come from buckets and are within 1 %, the same way for both arms.
    """
    means: dict[Key, dict[str, Moments]] = {}
    for row in values:
        if row.role == "primary" and row.measure in MEASURES:
            means.setdefault((row.route, row.variant), {})[row.measure] = _moments(row)
    for given in scores:
        found = Moments(given.n, given.mean, given.variance)
        means.setdefault((given.route, given.variant), {})["score"] = found
    compared: list[Difference] = []
    for route in routes_with_variants(traffic):
        arms = [
            _Arm(row, means.get((route, row.variant), {}))
            for row in traffic
            if (row.route, row.role) == (route, "primary")
        ]
        largest = max(arms, key=lambda arm: arm.row.n)
        for arm in arms:
            if arm is not largest:
                compared += _compare(largest, arm)
    return tuple(compared)


def _moments(row: ValueCounts) -> Moments:
    sketch = Sketch.of_counts(row.buckets, row.counts)
    n = sketch.n
    if not n:
        return Moments(0, 0.0, 0.0)
    points = middles(sketch.buckets)
    mean = float(np.dot(points, sketch.counts) / n)
    return Moments(n, mean, float(np.dot(np.square(points - mean), sketch.counts) / n))


def _compare(before: _Arm, now: _Arm) -> list[Difference]:
    m, n = before.row, now.row
    errors = _measured(lambda: share_difference(m.errors, m.n, n.errors, n.n))
    made = [_difference(before, now, "error_share", (m.error_share, n.error_share), errors)]
    for metric in (*MEASURES, "score"):
        one, other = before.means.get(metric), now.means.get(metric)
        if one is None or other is None or not one.n or not other.n:
            continue
        found = _measured(lambda one=one, other=other: mean_difference(one, other))  # type: ignore[misc]
        pair = (one.mean, other.mean)
        made.append(_difference(before, now, metric, pair, found, rows=(one.n, other.n)))
    return made


def _measured(measure: Callable[[], Measurement]) -> Measurement | None:
    try:
        return measure()
    except NotEnoughSamples:
        return None


def _difference(
    before: _Arm,
    now: _Arm,
    metric: str,
    values: tuple[float, float],
    found: Measurement | None,
    *,
    rows: tuple[int, int] | None = None,
) -> Difference:
    n_before, n = rows if rows is not None else (before.row.n, now.row.n)
    return Difference(
        route=now.row.route,
        variant=now.row.variant,
        against=before.row.variant,
        metric=metric,
        value_before=values[0],
        value=values[1],
        difference=None if found is None else found.value,
        low=None if found is None else found.interval.low,
        high=None if found is None else found.interval.high,
        n_before=n_before,
        n=n,
    )
