"""Bets of the sequential detector: what they pay is one on average as long as nothing drifts.

Given all rows of the pool and the look together, without drift the look is a draw without
replacement. A bet puts a positive weight on every cell and pays the product of the weights of
the look's rows over the mean of that product under this law. Nothing is estimated from the
reference, so that its own sampling error is never drift, and nothing is random.
"""

from typing import Literal, NamedTuple

import numpy as np

from stats.arrays import FloatArray

Aspect = Literal["location", "spread", "skew", "shape", "rate"]

POLYNOMIALS: tuple[Aspect, ...] = ("location", "spread", "skew", "shape")
"""Shifted Legendre polynomials 1 to 4 of the rank: what each of them reacts to."""
POLYNOMIAL_SHARES = (0.24, 0.20, 0.13, 0.13)
"""Prior weight of each; what is left of one is on rates."""
STAKES = (-0.8, -0.5, -0.32, -0.2, -0.13, -0.08, -0.05, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8)
"""Weights are 1 + stake * polynomial; below one, so that no bet is ever lost for good."""
ODDS = (0.1, 0.4, 0.625, 0.8, 0.91, 1.1, 1.25, 1.6, 2.5, 5.0, 16.0, 64.0)
"""By how much the odds of a cell may have changed."""
BINS = 64
"""Rank bets lump ordered cells until they hold at least this part of the rows."""
NEWTON_STEPS = 3


class Places(NamedTuple):
    """Cells whose rates are bet on.

    Attributes
    ----------
    starts, ends : tuple of int
        Half-open ranges of cells that are added up.
    cells : tuple of int
        Cell that stands for each place.
    shares : tuple of float
        Prior weight of each.
    only_more : tuple of bool
        Whether only a higher rate is of interest.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    cells: tuple[int, ...]
    shares: tuple[float, ...]
    only_more: tuple[bool, ...]

    def of(self, counts: FloatArray) -> FloatArray:
        """Return the rows of every place, shape (places,)."""
        below = np.concatenate(([0.0], np.cumsum(counts)))
        return np.asarray(below[list(self.ends)] - below[list(self.starts)], dtype=np.float64)


def places_of(ordered: int, size: int) -> Places:
    """Return the places of a feature's cells.

    Numbers: both guards, both tails (a guard with the cell beside it), `invalid`, `missing`.
    Categories: each with a cell, `new`, `missing`; not `other`: the most frequent categories
    of a sample are less frequent in truth, so that `other` always grows.
    """
    if ordered:
        last = ordered - 1
        return Places(
            starts=(0, last, 0, last - 1, ordered, ordered + 1),
            ends=(1, ordered, 2, ordered, ordered + 1, ordered + 2),
            cells=(0, last, 0, last, ordered, ordered + 1),
            shares=(0.03, 0.03, 0.05, 0.05, 0.04, 0.10),
            only_more=(True, True, False, False, True, False),
        )
    top = size - 3
    cells = (*range(top), top + 1, top + 2)
    return Places(
        starts=cells,
        ends=tuple(cell + 1 for cell in cells),
        cells=cells,
        shares=(*(0.8 / top,) * top, 0.1, 0.1),
        only_more=(*(False,) * top, True, False),
    )


def prior(ordered: int, size: int) -> FloatArray:
    """Return the weights of all bets, rank bets first; they add up to one."""
    places = places_of(ordered, size)
    ranks = np.repeat(POLYNOMIAL_SHARES if ordered else (), len(STAKES)) / len(STAKES)
    wanted = np.asarray(places.only_more)[:, np.newaxis] <= (np.asarray(ODDS) > 1.0)
    rates = wanted * (np.asarray(places.shares)[:, np.newaxis] / wanted.sum(axis=1, keepdims=True))
    return np.asarray(np.concatenate((ranks, rates.ravel())), dtype=np.float64)


def log_rank_bets(look: FloatArray, together: FloatArray) -> FloatArray:
    """Log of what the rank bets pay for a look.

    Parameters
    ----------
    look, together : ndarray of float64, shape (ordered,)
        Rows by ordered cell: of the look, and of the pool *with* the look.

    Returns
    -------
    ndarray of float64, shape (56,)
        By polynomial, then by stake.
    """
    total = together.sum()
    drawn = look.sum()
    if not 0.0 < drawn < total:
        return np.zeros(len(POLYNOMIALS) * len(STAKES))
    look, together = _lumped(look, together)
    x = (2.0 * np.cumsum(together) - together) / total - 1.0
    squared = x * x
    legendre = np.stack(
        (
            x,
            1.5 * squared - 0.5,
            (2.5 * squared - 1.5) * x,
            (4.375 * squared - 3.75) * squared + 0.375,
        )
    )
    weights = 1.0 + (legendre[:, np.newaxis, :] * np.asarray(STAKES)[:, np.newaxis]).reshape(
        -1, x.size
    )
    return np.asarray(np.log(weights) @ look - _log_mean(weights, together, drawn))


def log_rate_bets(look: FloatArray, together: FloatArray, drawn: float, total: float) -> FloatArray:
    """Log of what the bets on changed odds of each place pay for a look.

    Parameters
    ----------
    look, together : ndarray of float64, shape (places,)
        Rows of the places: of the look, and of the pool *with* the look.
    drawn, total : float
        All rows of the look, and of the pool with the look.

    Returns
    -------
    ndarray of float64, shape (places * 12,)
        By place, then by odds.
    """
    if drawn >= total:
        return np.zeros(look.size * len(ODDS))
    odds = np.asarray(ODDS)
    hits = together[:, np.newaxis]
    rest = total - hits
    # The tilt solves a quadratic equation; this root loses no digits.
    half = total - hits + hits * odds - drawn * (1.0 + odds)
    root = np.sqrt(half * half + 4.0 * odds * (total - drawn) * drawn)
    tilt = np.where(
        half > 0.0, 2.0 * drawn / (half + root), (root - half) / (2.0 * odds * (total - drawn))
    )
    spread = rest * tilt / (1.0 + tilt) ** 2 + hits * odds * tilt / (1.0 + odds * tilt) ** 2
    grown = rest * np.log1p(tilt) + hits * np.log1p(odds * tilt)
    mean = _ratio(grown, spread, np.log(tilt), drawn, total)
    return np.asarray((look[:, np.newaxis] * np.log(odds) - mean).ravel())


def _log_mean(weights: FloatArray, together: FloatArray, drawn: float) -> FloatArray:
    """Log mean of the product of the weights of `drawn` rows, drawn without replacement.

    It is the ratio of the coefficients of z**drawn in prod(1 + z w) and in (1 + z)**total, each
    by its saddle point. Their errors cancel: the ratio is right to 2e-6 of the variance of the
    bet's logarithm (compared with the exact sum in the tests).

    References
    ----------
    H. E. Daniels, Saddlepoint approximations in statistics, Ann. Math. Statist. 25 (1954).
    W. Hoeffding, Probability inequalities for sums of bounded random variables, JASA 58 (1963),
    theorem 4: the same mean with replacement is never smaller.
    """
    total = float(together.sum())
    tilt = np.log(drawn / (total - drawn)) - np.log(weights @ together / total)
    for _ in range(NEWTON_STEPS):
        share = 1.0 - 1.0 / (1.0 + np.exp(tilt)[:, np.newaxis] * weights)
        expected = share @ together
        spread = expected - (share * share) @ together
        tilt = tilt + (drawn - expected) / spread
    scaled = np.exp(tilt)[:, np.newaxis] * weights
    return _ratio(np.log1p(scaled) @ together, spread, tilt, drawn, total)


def _ratio(
    grown: FloatArray, spread: FloatArray, tilt: FloatArray, drawn: float, total: float
) -> FloatArray:
    share = drawn / total
    even = -total * np.log1p(-share) - drawn * np.log(share / (1.0 - share))
    scale = 0.5 * np.log(spread / (drawn * (1.0 - share)))
    return np.asarray(grown - drawn * tilt - even - scale)


def _lumped(look: FloatArray, together: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Add neighbours up, so that hundreds of fine cells cost no more than `BINS`."""
    below = np.cumsum(together) - together
    part = np.floor(below * (BINS / together.sum()))
    starts = np.flatnonzero(np.diff(part, prepend=-1.0))
    return np.add.reduceat(look, starts), np.add.reduceat(together, starts)
