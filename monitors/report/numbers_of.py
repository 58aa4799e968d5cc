"""Percentiles of a report: exact from rows, or within 1 % from the roll-ups' buckets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from monitors.report.model import Percentiles
from stats.buckets import Sketch
from storage.exact import SHARES, Timed, Tried
from storage.log import AttemptCounts, ValueCounts

MEASURES = ("latency_s", "ttft_s", "overhead_s")
_EMPTY = Percentiles(0, None, None, None)

Variant = tuple[str, str | None, str]
"""Route, variant (None is all of them) and role."""
Upstream = tuple[str, str]
"""Name and role."""


class Times(NamedTuple):
    """Durations of requests and tries, in seconds."""

    variants: Mapping[tuple[Variant, str], Percentiles]
    upstreams: Mapping[Upstream, Percentiles]

    def of(self, variant: Variant, measure: str) -> Percentiles:
        """Return the percentiles of a measure; empty ones where no row knows it."""
        return self.variants.get((variant, measure), _EMPTY)


def times_from_counts(values: Sequence[ValueCounts], attempts: Sequence[AttemptCounts]) -> Times:
    """Read percentiles from buckets: variants of a route, and routes of an upstream, add up."""
    variants: dict[tuple[Variant, str], list[Sketch]] = {}
    for row in values:
        if row.measure in MEASURES:
            sketch = Sketch.of_counts(row.buckets, row.counts)
            for variant in (row.variant, None):
                key = (row.route, variant, row.role), row.measure
                variants.setdefault(key, []).append(sketch)
    upstreams: dict[Upstream, list[Sketch]] = {}
    for tried in attempts:
        sketch = Sketch.of_counts(tried.buckets, tried.counts)
        upstreams.setdefault((tried.upstream, tried.role), []).append(sketch)
    return Times(
        {key: _percentiles(Sketch.merged(parts)) for key, parts in variants.items()},
        {key: _percentiles(Sketch.merged(parts)) for key, parts in upstreams.items()},
    )


def times_from_rows(timed: Sequence[Timed], tried: Sequence[Tried]) -> Times:
    """Take percentiles as they were computed from rows."""
    variants = {
        ((row.route, row.variant, row.role), measure): Percentiles(row.known[measure], *quantiles)
        for row in timed
        for measure, quantiles in row.quantiles.items()
    }
    upstreams = {
        (row.upstream, row.role): Percentiles(row.n, *row.quantiles)
        for row in tried
        if row.quantiles is not None
    }
    return Times(variants, upstreams)


def _percentiles(sketch: Sketch) -> Percentiles:
    if not sketch.n:
        return _EMPTY
    p50, p95, p99 = sketch.values_at(SHARES)
    return Percentiles(sketch.n, p50, p95, p99)
