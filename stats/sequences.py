"""Confidence sequences: intervals that hold at every look together, so that peeking is free.

Those of `share`, `share_difference`, `mean` and `mean_difference` need running sums alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stats.arrays import Values, as_values
from stats.confidence import LEVEL
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Estimate, Interval, Measurement

LEAST_ROWS = 20
"""Rows of a window below which a normal limit says nothing yet."""
TUNED_ROWS = 500.0
"""Rows, n or m n / (m + n), at which the sequences of means are narrowest; any is valid."""
PRIOR = 0.5
"""Both parameters of the Beta law over which likelihoods are mixed (Jeffreys)."""
_STEPS = 44


@dataclass(frozen=True, slots=True)
class Moments:
    """What a mean needs of its rows; those of shards merge.

    Attributes
    ----------
    n : int
        Rows.
    mean, variance : float
        Of one row, the variance with divisor n.
    """

    n: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Values) -> "Moments":
        """Measure rows, shape (n,); NaN, None and infinities are left out."""
        array = as_values(values)
        kept = array[np.isfinite(array)]
        if not kept.size:
            return cls(0, 0.0, 0.0)
        return cls(kept.size, float(kept.mean()), float(kept.var()))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both: the same as those of all rows."""
        n = self.n + other.n
        if n == 0:
            return self
        gap, part = other.mean - self.mean, other.n / n
        within = (1.0 - part) * self.variance + part * other.variance
        return Moments(n, self.mean + part * gap, within + part * (1.0 - part) * gap * gap)


def mean(rows: Moments, *, level: float = LEVEL) -> Estimate:
    """Asymptotic confidence sequence of a mean.

    Parameters
    ----------
    rows : Moments
    level : float
        Chance, in (0, 1), that the intervals of all looks together hold the mean.

    Returns
    -------
    Estimate
        In the unit of the rows. A constant has an interval of no width.

    Raises
    ------
    NotEnoughSamples
        Below `LEAST_ROWS` rows.

    References
    ----------
    I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy and A. Ramdas, Time-uniform central limit
    theory and asymptotic confidence sequences, Annals of Statistics 52 (2024) 2613-2640.
    """
    _check(level, rows.n, LEAST_ROWS)
    half = _half(_sampling(rows), float(rows.n), level)
    return Estimate(rows.mean, Interval(rows.mean - half, rows.mean + half), rows.n)


def mean_difference(reference: Moments, current: Moments, *, level: float = LEVEL) -> Measurement:
    """Asymptotic confidence sequence of the current mean less the reference's.

    Parameters
    ----------
    reference, current : Moments
        Independent arms whose rows may come in any order and at different rates.
    level : float
        Chance, in (0, 1), that the intervals of all looks together hold the difference.

    Returns
    -------
    Measurement
        In the unit of the rows; changes sign when the arms are exchanged.

    Raises
    ------
    NotEnoughSamples
        If an arm has fewer than `LEAST_ROWS` rows.

    Notes
    -----
    Half width sqrt(V (1 + r / h) log((h + r) / (r alpha^2))) with the variance V of the
    difference, h = m n / (m + n) and r chosen for `TUNED_ROWS`: Robbins' normal mixture.

    References
    ----------
    As `mean`. H. Robbins, Statistical methods related to the law of the iterated logarithm,
    Annals of Mathematical Statistics 41 (1970) 1397-1409.

    Examples
    --------
    >>> found = mean_difference(Moments(1000, 10.0, 4.0), Moments(1000, 10.5, 4.0))
    >>> round(found.interval.low, 3), round(found.interval.high, 3)
    (0.228, 0.772)
    """
    _check(level, reference.n, LEAST_ROWS, "reference")
    _check(level, current.n, LEAST_ROWS, "current window")
    value = current.mean - reference.mean
    half = _half(_sampling(reference) + _sampling(current), harmonic(reference.n, current.n), level)
    return Measurement(value, Interval(value - half, value + half), reference.n, current.n)


def share(hits: int, n: int, *, level: float = LEVEL) -> Estimate:
    """Confidence sequence of a share, exact for any n and share.

    Parameters
    ----------
    hits, n : int
        0 <= hits <= n, n >= 1.
    level : float
        Chance, in (0, 1), that the intervals of all looks together hold the share.

    Returns
    -------
    Estimate
        The shares at which the Beta mixture of likelihoods is below 1 / alpha times their own.

    References
    ----------
    H. Robbins, as in `mean_difference`. S. Howard, A. Ramdas, J. McAuliffe and J. Sekhon,
    Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49
    (2021) 1055-1080.

    Examples
    --------
    >>> found = share(0, 100)
    >>> found.interval.low, round(found.interval.high, 3)
    (0.0, 0.057)
    """
    _check(level, n, 1)
    _check_hits(hits, n)
    bound = -math.log1p(-level)
    mixed = log_mixture(hits, n)

    def inside(p: float) -> bool:
        return mixed - log_likelihood(hits, n, p) < bound

    p = hits / n
    low = 0.0 - _reach(lambda x: inside(-x), -p, 0.0)
    return Estimate(p, Interval(low, _reach(inside, p, 1.0)), n)


def share_difference(
    reference_hits: int, m: int, current_hits: int, n: int, *, level: float = LEVEL
) -> Measurement:
    """Confidence sequence of the current share less the reference's, exact for any m and n.

    Parameters
    ----------
    reference_hits, m, current_hits, n : int
        Hits and rows of both arms, in which rows may come in any order and at different rates.
    level : float
        Chance, in (0, 1), that the intervals of all looks together hold the difference.

    Returns
    -------
    Measurement
        `value` in [-1, 1]. The interval leaves 0 out if and only if
        `sequential.shares_e_value` reaches 1 / (1 - level).

    Raises
    ------
    NotEnoughSamples
        If an arm is empty.

    Notes
    -----
    The product of both arms' Beta mixtures over the likelihood of a pair of shares is a
    martingale at the true pair; a difference is held while some pair with it stays below
    1 / alpha. Narrower than the difference of two sequences at half the level each.

    References
    ----------
    As `share`. L. Wasserman, A. Ramdas and S. Balakrishnan, Universal inference, PNAS 117 (2020)
    16880-16890.

    Examples
    --------
    >>> found = share_difference(50, 1000, 100, 1000)
    >>> round(found.value, 3), round(found.interval.low, 3), round(found.interval.high, 3)
    (0.05, -0.003, 0.106)
    """
    _check(level, m, 1, "reference")
    _check(level, n, 1, "current window")
    _check_hits(reference_hits, m)
    _check_hits(current_hits, n)
    arms = _Arms(reference_hits, m, current_hits, n)
    bound = -math.log1p(-level)
    mixed = log_mixture(reference_hits, m) + log_mixture(current_hits, n)

    def inside(difference: float) -> bool:
        return mixed - arms.best(difference) < bound

    value = current_hits / n - reference_hits / m
    low = 0.0 - _reach(lambda x: inside(-x), -value, 1.0)
    return Measurement(value, Interval(low, _reach(inside, value, 1.0)), m, n)


@dataclass(frozen=True, slots=True)
class _Arms:
    hits_before: int
    m: int
    hits_now: int
    n: int

    def best(self, difference: float) -> float:
        """Largest log likelihood of two shares that are `difference` apart."""
        low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
        for _ in range(_STEPS):
            p = (low + high) / 2.0
            if self._slope(p, p + difference) > 0.0:
                low = p
            else:
                high = p
        p = (low + high) / 2.0
        now = min(1.0, max(0.0, p + difference))
        before = log_likelihood(self.hits_before, self.m, p)
        return before + log_likelihood(self.hits_now, self.n, now)

    def _slope(self, p: float, q: float) -> float:
        return _slope(self.hits_before, self.m, p) + _slope(self.hits_now, self.n, q)


def harmonic(m: int, n: int) -> float:
    """Rows that two arms are worth together: m n / (m + n)."""
    return m * n / (m + n)


def mixing_rows(level: float) -> float:
    """Return r of the normal mixture that is narrowest at `TUNED_ROWS`."""
    spent = -2.0 * math.log1p(-level)
    return TUNED_ROWS / (spent + math.log(spent) + 1.0)


def log_mixture(hits: int, n: int) -> float:
    """Log of the mean likelihood of `hits` under the Beta law of `PRIOR`."""
    prior = 2.0 * math.lgamma(PRIOR) - math.lgamma(2.0 * PRIOR)
    both = math.lgamma(hits + PRIOR) + math.lgamma(n - hits + PRIOR)
    return both - math.lgamma(n + 2.0 * PRIOR) - prior


def log_likelihood(hits: int, n: int, p: float) -> float:
    """Log of p^hits (1 - p)^(n - hits); minus infinity where that is zero."""
    total = 0.0
    for rows, chance in ((hits, p), (n - hits, 1.0 - p)):
        if rows:
            total += rows * math.log(chance) if chance > 0.0 else -math.inf
    return total


def _slope(hits: int, n: int, p: float) -> float:
    up = hits / p if p > 0.0 else (math.inf if hits else 0.0)
    down = (n - hits) / (1.0 - p) if p < 1.0 else (math.inf if n > hits else 0.0)
    return up - down


def _reach(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Last value from `start` up to `end` that is inside."""
    if inside(end):
        return end
    low, high = start, end
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if inside(middle):
            low = middle
        else:
            high = middle
    # The outer end, so that rounding never narrows the interval.
    return high


def _sampling(rows: Moments) -> float:
    return rows.variance / (rows.n - 1)


def _half(variance: float, rows: float, level: float) -> float:
    mixing = mixing_rows(level)
    log_term = math.log1p(rows / mixing) - 2.0 * math.log1p(-level)
    return math.sqrt(variance * (1.0 + mixing / rows) * log_term)


def _check(level: float, n: int, needed: int, window: str = "window") -> None:
    if not 0.0 < level < 1.0:
        raise InvalidInput(f"level is {level}; it lies between 0 and 1, such as 0.95.")
    if n < needed:
        raise NotEnoughSamples(n, needed, window)


def _check_hits(hits: int, n: int) -> None:
    if not 0 <= hits <= n:
        raise InvalidInput(f"{hits} hits of {n} rows; hits must lie in 0..n.")
