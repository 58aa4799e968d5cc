"""From the rows of a feature to the form in which a baseline keeps it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from monitors.references.rows import FeatureRows, Groups
from stats.arrays import BoolArray, CountArray, FloatArray
from stats.categories import CategoryCells, Cells
from stats.cells import NumericCells
from stats.ecdf import Ecdf
from stats.errors import StatsError
from stats.few_blocks import dispersion_in_time
from stats.spread import dispersion

SAMPLE_ROWS = 4096
"""Order statistics of a reference that are kept for exact distances.

Evenly spaced ones: their distribution function is within 1 / (2 x 4096) of that of all rows.
"""
MOST_FEATURES = 250
"""Features of a baseline; further inputs of models are left out, and it says how many."""
TOP = 200
"""Categories with a cell of their own."""
SEGMENT_VALUES = 20
"""Values of a segment key that are told apart; the others are `key=(other)`."""
OTHER_VALUES = "(other)"
HOURS = 168
HOUR_US = 3_600_000_000
SEASON_US = 2 * HOURS * HOUR_US
"""Every hour of the week twice."""
DISCRETE_VALUES = 30
"""Distinct values up to which a number that was not declared can be discrete."""
DISCRETE_ROWS = 20
"""Rows that each of them then has on average: values that repeat, not a small sample."""

BLOCKED_ROWS = 1_000_000
"""Rows of which the dependence in time is read."""
NOVELTY = 0.002
"""Share of rows with a new value from which a new value is nothing new."""
LEAST_SINGLES = 5
"""Values that were seen once, below which that share is not known."""

_MONDAY = 72  # the epoch was a Thursday
_BLOCK_ROWS = 100
_BLOCKS = 25  # of fewer the spread of their sums says nothing: short files have shorter blocks
_MIX = np.int64(-7046029254386353131)  # 2**64 over the golden ratio, odd


class Plan(NamedTuple):
    """How references are made, of whatever rows.

    Attributes
    ----------
    look_us : int
        Microseconds between looks: the blocks in which rows' dependence shows.
    seasonal : bool
        Keep counts by hour of the week.
    """

    look_us: int = 300_000_000
    seasonal: bool = False


def hour_of_week(at_us: int) -> int:
    """Return the hour of the week in UTC, in [0, 168): 0 is Monday from midnight."""
    return (at_us // HOUR_US + _MONDAY) % HOURS


def stored_form(rows: FeatureRows, plan: Plan) -> dict[str, object] | None:
    """Return what a baseline keeps of a feature, None where its rows are too few.

    Returns
    -------
    dict or None
        `rows`, `cells` and `counts` over them; of a number its order statistics as `sample` and
        `weights`; of a category `singles`, those that one row has. Where they are known: `segments`
        (`key=value` to counts), `hours` (hour of the week to counts, hours with rows only) and
        `dispersion`.
    """
    try:
        return _numeric(rows, plan) if rows.kind == "numeric" else _categorical(rows, plan)
    except StatsError:
        return None


def _numeric(rows: FeatureRows, plan: Plan) -> dict[str, object]:
    values, groups = rows.numbers()
    sample = Ecdf.of(values)
    cells = NumericCells.from_reference(sample)
    if _is_discrete(sample, declared=rows.discrete):
        cells = _cells_of_values(cells, sample)
    kept = Ecdf.of(order_statistics(sample))
    places = _places(cells, values)
    return {
        "rows": len(values),
        "cells": cells.to_dict(),
        "counts": np.bincount(places, minlength=cells.size).tolist(),
        "sample": kept.support.tolist(),
        "weights": kept.counts.tolist(),
        **_grouped(places, cells, groups, plan),
    }


def _categorical(rows: FeatureRows, plan: Plan) -> dict[str, object]:
    table = rows.table()
    cells = CategoryCells.from_reference(table, top=TOP)
    singles = sum(1 for name, seen in table.items() if seen == 1 and name is not None)
    # Good 1953: about so many rows bring a value that was never seen.
    if singles >= LEAST_SINGLES and singles > NOVELTY * sum(table.values()):
        # New values are its nature: a name, a number. They are `other` then, as they were before.
        cells = CategoryCells(cells.top, complete=False)
    codes, groups = rows.coded(cells.top)
    places = np.where(codes < 0, cells.missing, codes)
    return {
        "rows": sum(table.values()),
        "cells": cells.to_dict(),
        "counts": cells.count(table).tolist(),
        "singles": singles,
        **_grouped(places, cells, groups, plan),
    }


def _is_discrete(sample: Ecdf, *, declared: bool | None) -> bool:
    distinct = sample.support.size
    if declared is not None:
        return declared and distinct <= SAMPLE_ROWS
    return distinct <= DISCRETE_VALUES and sample.n >= DISCRETE_ROWS * distinct


def _cells_of_values(cells: NumericCells, sample: Ecdf) -> NumericCells:
    """Give the most frequent values a cell each, all of them where they are few."""
    order = np.argsort(-sample.counts, kind="stable")[:DISCRETE_VALUES]
    heavy = sample.support[order]
    edges = np.unique(np.concatenate((cells.edges, heavy, np.nextafter(heavy, np.inf))))
    form = {**cells.to_dict(), "edges": edges[np.isfinite(edges)].tolist()}
    return NumericCells.from_dict(form)


def _places(cells: NumericCells, values: FloatArray) -> CountArray:
    place = np.searchsorted(np.asarray(cells.edges), values, side="right").astype(np.int64)
    place[np.isinf(values)] = cells.ordered
    place[np.isnan(values)] = cells.ordered + 1
    return place


def _grouped(places: CountArray, cells: Cells, groups: Groups, plan: Plan) -> dict[str, Any]:
    if not places.size:
        return {}
    found: dict[str, Any] = {"dispersion": _dispersion(places, cells, groups, plan)}
    segments = _segments(places, cells.size, groups)
    if segments:
        found["segments"] = segments
    hours = _hours_of(groups.started_at)
    if plan.seasonal and hours is not None:
        found["hours"] = _by_hour(places, cells.size, hours)
    return found


def _segments(places: CountArray, size: int, groups: Groups) -> Mapping[str, list[int]]:
    found = {}
    for key, (values, bits) in groups.segments.items():
        for place, value in enumerate((*values, OTHER_VALUES)):
            counts = np.bincount(places[(bits >> place) & 1 == 1], minlength=size)
            if counts.any():
                found[f"{key}={value}"] = counts.tolist()
    return found


def _by_hour(places: CountArray, size: int, hours: CountArray) -> Mapping[str, list[int]]:
    counts = np.bincount(hours * size + places, minlength=HOURS * size).reshape(HOURS, size)
    return {str(hour): counts[hour].tolist() for hour in range(HOURS) if counts[hour].any()}


def _dispersion(places: CountArray, cells: Cells, groups: Groups, plan: Plan) -> float:
    """Return the larger one of looks and, where a key is known, of its rows within a look."""
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    blocks, found = np.zeros_like(places), 1.0
    if groups.started_at is not None:
        blocks = groups.started_at // plan.look_us
    elif groups.in_order:
        length = max(1, min(_BLOCK_ROWS, places.size // _BLOCKS))
        blocks = np.arange(places.size, dtype=np.int64) // length
    # What comes back every week is no dependence where each hour has its own reference.
    hours = _hours_of(groups.started_at) if plan.seasonal else None
    if groups.started_at is not None:
        chosen = _newest(groups.started_at)
        found = dispersion_in_time(
            places[chosen],
            groups.started_at[chosen],
            plan.look_us,
            size=cells.size,
            ordered=ordered,
            within=None if hours is None else hours[chosen],
        )
    elif groups.in_order:
        found = dispersion(places, blocks, size=cells.size, ordered=ordered)
    if groups.clusters is None:
        return found
    # One number of both; that two pairs share one is as good as impossible.
    pairs = groups.clusters ^ (blocks * _MIX)
    return max(found, dispersion(places, pairs, size=cells.size, ordered=ordered, within=hours))


def _newest(started_at: CountArray) -> slice | BoolArray:
    """Choose the rows of which dependence in time is read: the newest million is enough."""
    if started_at.size <= BLOCKED_ROWS:
        return slice(None)
    first = started_at.size - BLOCKED_ROWS
    return np.asarray(started_at >= np.partition(started_at, first)[first], dtype=np.bool_)


def _hours_of(started_at: CountArray | None) -> CountArray | None:
    return None if started_at is None else (started_at // HOUR_US + _MONDAY) % HOURS


def order_statistics(sample: Ecdf, limit: int = SAMPLE_ROWS) -> FloatArray:
    """Return at most `limit` rows of a sample: the middle one of each of `limit` equal parts."""
    if sample.n <= limit:
        return np.repeat(sample.support, sample.counts)
    ranks = (2 * np.arange(limit) + 1) * sample.n // (2 * limit)
    return sample.support[np.searchsorted(sample.cumulative[1:], ranks, side="right")]
