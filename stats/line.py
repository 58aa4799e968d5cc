"""One pass over two sorted samples: what Kolmogorov-Smirnov and Wasserstein need of them.

Blocks bound the memory, and stay in a processor's cache: two million rows take a tenth of a second.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.confidence import doubtful_noise
from stats.ecdf import Ecdf

BLOCK = 1 << 15
"""Distinct values of either sample in a block, at most."""


class Steps(NamedTuple):
    """Both distribution functions at distinct values; the first one ends the block before.

    Arrays of float64, shape (k,): ascending values, F and G at and below each.
    """

    points: FloatArray
    f: FloatArray
    g: FloatArray


@dataclass(frozen=True, slots=True)
class Line:
    """How far two distribution functions lie apart.

    Attributes
    ----------
    gap, at : float
        Largest |F - G|, and the least value at which it is reached.
    area : float
        Integral of |F - G|.
    noise : float
        What equal windows would show of it where the sign of F - G is in doubt.
    spread_before, spread_now : float
        Standard deviation, under F and under G, of the best 1-Lipschitz function.
    """

    gap: float
    at: float
    area: float
    noise: float
    spread_before: float
    spread_now: float


def steps(before: Ecdf, now: Ecdf) -> Iterator[Steps]:
    """Merge two samples, block by block."""
    cuts = np.union1d(before.support[BLOCK::BLOCK], now.support[BLOCK::BLOCK])
    ends = [np.searchsorted(one.support, cuts).tolist() for one in (before, now)]
    last = Steps(np.minimum(before.support[:1], now.support[:1]), np.zeros(1), np.zeros(1))
    start_before = start_now = 0
    for end_before, end_now in zip(
        [*ends[0], before.support.size], [*ends[1], now.support.size], strict=True
    ):
        here, there = before.support[start_before:end_before], now.support[start_now:end_now]
        points, rows, others = merged(here, there)
        found = Steps(
            np.concatenate((last.points, points)),
            np.concatenate((last.f, before.cumulative[start_before + rows] / before.n)),
            np.concatenate((last.g, now.cumulative[start_now + others] / now.n)),
        )
        yield found
        last = Steps(found.points[-1:], found.f[-1:], found.g[-1:])
        start_before, start_now = end_before, end_now


def merged(here: FloatArray, there: FloatArray) -> tuple[FloatArray, CountArray, CountArray]:
    """Merge two ascending arrays of distinct values, not both empty.

    Returns
    -------
    tuple of ndarray
        The distinct values of both, ascending, and how many values of either are at or below each.
    """
    both = np.concatenate((here, there))
    # Two sorted runs: the stable sort only merges them.
    order = np.argsort(both, kind="stable")
    points = both[order]
    rows = np.cumsum(order < here.size, dtype=np.int64)
    last_of = points[1:] != points[:-1]
    if last_of.all():
        return points, rows, np.arange(1, points.size + 1, dtype=np.int64) - rows
    kept = np.append(np.flatnonzero(last_of), points.size - 1)
    rows = rows[kept]
    return points[kept], rows, kept + 1 - rows


def measure(before: Ecdf, now: Ecdf) -> Line:
    """Return the distances of two samples that are not empty."""
    m, n = before.n, now.n
    widest = float(max(before.support[-1], now.support[-1]))
    widest -= float(min(before.support[0], now.support[0]))
    gap, at = -1.0, math.nan
    area = noise = height = 0.0
    spreads = Spread(), Spread()
    for points, f, g in steps(before, now):
        difference, width = f - g, np.diff(points)
        size = np.abs(difference)
        place = int(np.argmax(size[1:])) + 1
        if size[place] > gap:
            gap, at = float(size[place]), float(points[place])
        area += dot(size[:-1], width)
        pooled = (m * f + n * g)[:-1] / (m + n)
        error = np.sqrt(np.maximum(0.0, pooled * (1.0 - pooled)) * (1.0 / m + 1.0 / n))
        noise += doubtful_noise(size[:-1], error, width)
        if widest > 0.0:
            # Squares of what is at most one neither overflow nor vanish.
            heights = height + np.cumsum(np.sign(difference[:-1]) * (width / widest))
            height = float(heights[-1])
            spreads[0].add(np.diff(f), heights)
            spreads[1].add(np.diff(g), heights)
    return Line(gap, at, area, noise, widest * spreads[0].std(), widest * spreads[1].std())


def dot(first: FloatArray, second: FloatArray) -> float:
    """Return the sum of products."""
    # Not by BLAS, whose threads spin between calls on vectors as short as these.
    return float(np.einsum("i,i->", first, second))


class Spread:
    """Standard deviation of weighted numbers that come block by block.

    T. Chan, G. Golub and R. LeVeque, Updating formulae and a pairwise algorithm for computing
    sample variances (1979).
    """

    def __init__(self) -> None:
        self._weight = self._mean = self._squares = 0.0

    def add(self, weights: FloatArray, values: FloatArray) -> None:
        """Take in a block."""
        weight = float(weights.sum())
        if weight <= 0.0:
            return
        mean = dot(weights, values) / weight
        squares = dot(weights, (values - mean) ** 2)
        total = self._weight + weight
        apart = mean - self._mean
        self._squares += squares + apart * apart * self._weight * weight / total
        self._mean += apart * weight / total
        self._weight = total

    def std(self) -> float:
        """Return the standard deviation of all blocks; 0.0 of none."""
        return math.sqrt(self._squares / self._weight) if self._weight > 0.0 else 0.0
