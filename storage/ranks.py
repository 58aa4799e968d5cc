"""Exact percentiles of many rows: roll-ups tell the bucket that holds a rank, its rows the value.

A bucket is 1 % wide, so that some hundredth of the rows leaves the database and is sorted. Ranks
and interpolation are those of `quantile_cont`, which `storage.exact` asks where roll-ups count
other rows than there are: rows that were forgotten stay counted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from storage.exact import MEASURES, SHARES, Quantiles, Timed, Tried, where_of
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.rollups.buckets import BUCKETS_PER_E, INFINITE, ZERO, bucket_sql
from storage.rollups.statements import NUMBERS

_ROUNDING = 1e-9
"""Relative: a number at the border of a bucket may be counted in the next one."""

Key = tuple[str, str, str]
Values = npt.NDArray[np.float64]
K = TypeVar("K")


class Counted(NamedTuple):
    """Rows by bucket of one key, buckets ascending."""

    buckets: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]


class _Source(NamedTuple):
    """Where rows are: a table, the columns of a key, a column and its expression, a condition."""

    table: str
    keys: str
    column: str
    number: str
    where: str
    chosen: Mapping[str, object]


class _Pool:
    """Keys whose rows are ranked together."""

    def __init__(self, parts: Mapping[Key, Counted]) -> None:
        self._parts = parts
        every = np.concatenate([part.buckets for part in parts.values()])
        rows = np.concatenate([part.counts for part in parts.values()])
        self._buckets, place = np.unique(every, return_inverse=True)
        self._above = np.cumsum(np.bincount(place, weights=rows)).astype(np.int64)
        self.n = int(self._above[-1]) if self._above.size else 0

    def wanted(self) -> set[tuple[Key, int]]:
        """Return the keys and buckets whose rows are needed."""
        ranks = {rank for share in SHARES for rank in self._ranks(share)[:2]}
        buckets = {self._bucket(rank)[0] for rank in ranks}
        return {
            (key, bucket)
            for key, part in self._parts.items()
            for bucket in buckets
            if bucket in part.buckets
        }

    def quantiles(self, rows: Mapping[tuple[Key, int], Values]) -> Quantiles:
        """Return the percentiles of `SHARES`, interpolated as `quantile_cont` does."""
        found = []
        for share in SHARES:
            low, high, part = self._ranks(share)
            first, last = self._value(low, rows), self._value(high, rows)
            found.append(first if low == high else first * (1.0 - part) + last * part)
        return tuple(found)

    def _ranks(self, share: float) -> tuple[int, int, float]:
        place = (self.n - 1) * share
        return math.floor(place), math.ceil(place), place - math.floor(place)

    def _bucket(self, rank: int) -> tuple[int, int]:
        """Return the bucket that holds a rank, from 0, and the rows before it."""
        place = int(np.searchsorted(self._above, rank, side="right"))
        return int(self._buckets[place]), int(self._above[place - 1]) if place else 0

    def _value(self, rank: int, rows: Mapping[tuple[Key, int], Values]) -> float:
        bucket, before = self._bucket(rank)
        found = [rows[key, bucket] for key in self._parts if (key, bucket) in rows]
        at = rank - before
        return float(np.partition(np.concatenate(found), at)[at])


def percentiles(log: LogReader, scope: Scope) -> list[Timed] | None:
    """Compute what `exact.percentiles` does; None where the roll-ups cannot say the ranks."""
    every = log.values(scope, MEASURES)
    where, chosen = where_of(scope)
    n = {m: sum(int(v.counts.sum()) + v.missing for v in every if v.measure == m) for m in MEASURES}
    if set(n.values()) != {_rows(log, "predictions", where, chosen)}:
        return None
    found: dict[tuple[str, str | None, str], Timed] = {}
    for measure in MEASURES:
        series = {
            (v.route, v.variant, v.role): Counted(v.buckets, v.counts)
            for v in every
            if v.measure == measure
        }
        pools: dict[tuple[str, str | None, str], _Pool] = {
            key: _Pool({key: part}) for key, part in series.items()
        }
        if measure == MEASURES[0]:
            both = _together(series, 0, 2).items()
            pools |= {(route, None, role): pool for (route, role), pool in both}
        number = NUMBERS[measure]
        source = _Source("predictions", "route, variant, role", measure, number, where, chosen)
        quantiles = _quantiles(log, source, pools, series)
        if quantiles is None:
            return None
        for key, pool in pools.items():
            timed = found.setdefault(key, Timed(*key, known={}, quantiles={}))
            timed.known[measure] = pool.n
            if key in quantiles:
                timed.quantiles[measure] = quantiles[key]
    return list(found.values())


def attempt_percentiles(log: LogReader, scope: Scope) -> list[Tried] | None:
    """Compute what `exact.attempt_percentiles` does; None where the roll-ups cannot."""
    every = log.attempts(scope)
    where, chosen = where_of(scope._replace(model=None, variant=None))
    series = {(a.route, a.upstream, a.role): Counted(a.buckets, a.counts) for a in every}
    n = sum(int(part.counts.sum()) for part in series.values())
    if n != _rows(log, "attempts", where, chosen):
        return None
    pools = _together(series, 1, 2)
    name = "latency_s"
    source = _Source("attempts", "route, upstream, role", name, name, where, chosen)
    quantiles = _quantiles(log, source, pools, series)
    if quantiles is None:
        return None
    return [Tried(key[0], key[1], pool.n, quantiles.get(key)) for key, pool in pools.items()]


def _together(series: Mapping[Key, Counted], a: int, b: int) -> dict[tuple[str, str], _Pool]:
    """Return the pools of keys that agree in two places."""
    groups: dict[tuple[str, str], dict[Key, Counted]] = {}
    for key, part in series.items():
        groups.setdefault((key[a], key[b]), {})[key] = part
    return {key: _Pool(parts) for key, parts in groups.items()}


def _rows(log: LogReader, table: str, where: str, chosen: Mapping[str, object]) -> int:
    found = log.connection.execute(
        f"SELECT count(*) FROM {table} WHERE {where}",  # noqa: S608 (names of this folder)
        dict(chosen),
    ).fetchone()
    assert found is not None, "an aggregate has a row"
    return int(found[0])


def _quantiles(
    log: LogReader, source: _Source, pools: Mapping[K, _Pool], series: Mapping[Key, Counted]
) -> dict[K, Quantiles] | None:
    filled = {key: pool for key, pool in pools.items() if pool.n}
    wanted = sorted(set[tuple[Key, int]]().union(*(pool.wanted() for pool in filled.values())))
    rows = _values(log, source, wanted)
    for key, bucket in wanted:
        part = series[key]
        expected = part.counts[np.searchsorted(part.buckets, bucket)]
        if rows[key, bucket].size != expected:
            return None
    return {key: pool.quantiles(rows) for key, pool in filled.items()}


def _values(
    log: LogReader, source: _Source, wanted: Sequence[tuple[Key, int]]
) -> dict[tuple[Key, int], Values]:
    """Read the rows of some buckets, by key and bucket."""
    if not wanted:
        return {}
    names = source.keys.split(", ")
    lists = [f"unnest(${name}s::VARCHAR[]) AS {name}" for name in names]
    same = " AND ".join(f"found.{name} = wanted.{name}" for name in names)
    given = {f"{name}s": [key[i] for key, _ in wanted] for i, name in enumerate(names)}
    columns: Any = log.connection.execute(
        f"""
        SELECT place, number FROM (
            SELECT {source.keys}, ({source.number})::DOUBLE AS number FROM {source.table}
            WHERE {source.where} AND ({_within(source.column, (b for _, b in wanted))})) AS found
        JOIN (SELECT {", ".join(lists)}, unnest($buckets::INTEGER[]) AS bucket,
                unnest(range({len(wanted)}))::INTEGER AS place) AS wanted
            ON {same} AND {bucket_sql("number")} = wanted.bucket
        """,  # noqa: S608 (names of this folder)
        {**source.chosen, **given, "buckets": [bucket for _, bucket in wanted]},
    ).fetchnumpy()
    order = np.argsort(columns["place"], kind="stable")
    ends = np.searchsorted(columns["place"][order], np.arange(len(wanted) + 1))
    numbers = np.asarray(columns["number"], dtype=np.float64)[order]
    return {name: numbers[ends[i] : ends[i + 1]] for i, name in enumerate(wanted)}


def _within(column: str, buckets: Iterable[int]) -> str:
    """Return a condition that holds for all rows of some buckets, and for few others."""
    ranges: list[tuple[float, float]] = []
    for low, high in sorted(_span(bucket) for bucket in set(buckets)):
        if ranges and low <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(high, ranges[-1][1])
        else:
            ranges.append((low, high))
    return " OR ".join(
        f"{column} BETWEEN '{low!r}'::DOUBLE AND '{high!r}'::DOUBLE" for low, high in ranges
    )


def _span(bucket: int) -> tuple[float, float]:
    size = abs(bucket)
    if size >= INFINITE:
        return (math.inf, math.inf) if bucket > 0 else (-math.inf, -math.inf)
    inner = 0.0 if size == 0 else _border(size - 0.5) * (1.0 - _ROUNDING)
    outer = _border(size + 0.5) * (1.0 + _ROUNDING)
    if size == 0:
        return -outer, outer
    return (inner, outer) if bucket > 0 else (-outer, -inner)


def _border(place: float) -> float:
    return math.exp((place - ZERO) / BUCKETS_PER_E) / 1000.0
