"""Confidence sequence of a bounded mean by betting: exact at any number of rows, and narrow."""

import math
from dataclasses import dataclass

import numpy as np

from stats.arrays import FloatArray, Values, as_values
from stats.confidence import LEVEL
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Estimate, Interval

GRID = 401
"""Means that are bet against; the ends of an interval lie one step outside of what is held."""
_TRUNCATION = 0.5
_BLOCK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Wealth:
    """What gamblers own who each bet against one mean: the state between looks, of fixed size.

    Attributes
    ----------
    up, down : ndarray of float64, shape (GRID,)
        Logs of their capital, of bets on more and on less than the mean.
    n : int
        Rows so far.
    total, spread : float
        Sum of the rows and of squared distances from the running mean, both in units of the range.
    level : float
        Of the intervals.
    """

    up: FloatArray
    down: FloatArray
    n: int = 0
    total: float = 0.0
    spread: float = 0.0
    level: float = LEVEL


def begin(level: float = LEVEL) -> Wealth:
    """Return the wealth before the first row.

    Parameters
    ----------
    level : float
        Chance, in (0, 1), that the intervals of all looks together hold the mean.
    """
    if not 0.0 < level < 1.0:
        raise InvalidInput(f"level is {level}; it lies between 0 and 1, such as 0.95.")
    return Wealth(np.zeros(GRID), np.zeros(GRID), level=level)


def look(wealth: Wealth, values: Values, *, low: float = 0.0, high: float = 1.0) -> Wealth:
    """Bet on rows, in the order in which they came.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        In [low, high], n >= 0; NaN and None are left out. Another order gives another interval
        with the same promise.
    low, high : float
        What a row can be at all, fixed before the first row.

    Raises
    ------
    InvalidInput
        If a row is outside of the range, since nothing would hold then.

    References
    ----------
    I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting,
    Journal of the Royal Statistical Society B 86 (2024) 1-27, hedged capital with predictable
    plug-in bets.
    """
    array = as_values(values)
    known = array[~np.isnan(array)]
    if not low < high:
        raise InvalidInput(f"the range is {low}..{high}; its ends must ascend.")
    if known.size and not (low <= known.min() and known.max() <= high):
        raise InvalidInput(f"rows lie outside of {low}..{high}; clip them or widen the range.")
    scaled = (known - low) / (high - low)
    for start in range(0, scaled.size, _BLOCK):
        wealth = _bet(wealth, scaled[start : start + _BLOCK])
    return wealth


def interval(wealth: Wealth, *, low: float = 0.0, high: float = 1.0) -> Estimate:
    """Return the means against which no gambler has won 1 / alpha, with the mean of the rows.

    Raises
    ------
    NotEnoughSamples
        Before the first row.

    Examples
    --------
    >>> rows = [0.4, 0.6, 0.5, 0.3] * 100
    >>> found = interval(look(begin(), rows))
    >>> round(found.value, 3), found.interval.low < 0.45 < found.interval.high
    (0.45, True)
    """
    if wealth.n < 1:
        raise NotEnoughSamples(wealth.n, 1)
    # Half of the capital on either side.
    best = np.maximum(wealth.up, wealth.down) - math.log(2.0)
    means, middle = _means(), wealth.total / wealth.n
    held = means[best < -math.log1p(-wealth.level)]
    step = 1.0 / (GRID - 1)
    # The mean of the rows is always held, but may lie between two candidates.
    least = max(0.0, min(middle, float(held.min(initial=1.0)) - step))
    most = min(1.0, max(middle, float(held.max(initial=0.0)) + step))
    width = high - low
    inside = Interval(low + width * least, low + width * most)
    return Estimate(low + width * middle, inside, wealth.n)


def _bet(wealth: Wealth, rows: FloatArray) -> Wealth:
    """Bet a block of rows in [0, 1]; each bet knows only the rows before it."""
    count = wealth.n + np.arange(1, rows.size + 1)
    totals = wealth.total + np.cumsum(rows)
    middle = (0.5 + totals) / (count + 1)
    spreads = wealth.spread + np.cumsum((rows - middle) ** 2)
    before = np.concatenate(([wealth.spread], spreads[:-1]))
    variance = (0.25 + before) / count
    size = np.sqrt(
        -2.0 * math.log((1.0 - wealth.level) / 2.0) / (variance * count * np.log1p(count))
    )
    means = _means()[:, None]
    with np.errstate(divide="ignore"):
        upward = np.minimum(size, _TRUNCATION / means)
        downward = np.minimum(size, _TRUNCATION / (1.0 - means))
    gap = rows - means
    return Wealth(
        wealth.up + np.log1p(upward * gap).sum(axis=1),
        wealth.down + np.log1p(-downward * gap).sum(axis=1),
        wealth.n + rows.size,
        float(totals[-1]),
        float(spreads[-1]),
        wealth.level,
    )


def _means() -> FloatArray:
    return np.linspace(0.0, 1.0, GRID)
