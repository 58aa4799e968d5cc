"""Bets of the sequential detector: what they pay is one on average as long as nothing drifts.

Given all rows of the pool and the look together, without drift the look is a draw without
replacement. A bet puts a positive weight on every cell and pays the product of the weights of
the look's rows over the mean of that product under this law. Nothing is estimated from the
reference, so that its own sampling error is never drift, and nothing is random.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray

Aspect = Literal["location", "spread", "skew", "shape", "rate"]

POLYNOMIALS: tuple[Aspect, ...] = ("location", "spread", "skew", "shape")
"""Shifted Legendre polynomials 1 to 4 of the rank: what each of them reacts to."""
POLYNOMIAL_SHARES = (0.28, 0.20, 0.10, 0.12)
"""Prior weight of each; what is left of one is on rates."""
STAKES = (-0.8, -0.5, -0.32, -0.2, -0.13, -0.08, -0.05, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8)
"""Weights are 1 + stake * polynomial; below one, so that no bet is ever lost for good."""
STAKE_WEIGHTS = (0.8, 0.8, 1.0, 1.4, 1.4, 1.0, 0.6, 0.6, 1.0, 1.4, 1.4, 1.0, 0.8, 0.8)
"""Prior weight of each, relative: most for shifts of a tenth to a quarter sd."""
ODDS = (0.1, 0.4, 0.625, 0.8, 0.91, 1.1, 1.25, 1.6, 2.5, 5.0, 16.0, 64.0)
"""By how much the odds of a cell may have changed."""
MORE_WEIGHTS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 1.5, 1.5, 1.0)
"""Prior weight of each, relative, where a cell was as good as empty and only more matters."""
RANK_BETS = len(POLYNOMIALS) * len(STAKES)
MOST_CELLS = 64
"""Rank bets lump neighbours where more cells than twice as many lie on a line."""
NEWTON_STEPS = 3

_STAKES = np.asarray(STAKES)[:, np.newaxis]
_ODDS = np.asarray(ODDS)
_LOG_ODDS = np.log(_ODDS)


class Bets(NamedTuple):
    """What is bet on over a feature's cells.

    Attributes
    ----------
    ordered, cells : int
        Leading cells that lie on a line, all cells.
    lumps : ndarray of int64
        Where lumps of ordered cells begin; empty if each stands for itself.
    starts, ends : ndarray of int64, shape (places,)
        Half-open ranges of cells whose rates are bet on.
    named : tuple of int
        Cell that stands for each place.
    log_prior : ndarray of float64, shape (bets,)
        Log of each bet's weight in the mean: rank bets first, by polynomial and stake, then
        rate bets by place and odds. The weights add up to one.
    """

    ordered: int
    cells: int
    lumps: CountArray
    starts: CountArray
    ends: CountArray
    named: tuple[int, ...]
    log_prior: FloatArray

    def name(self, bet: int) -> tuple[Aspect, bool, int | None]:
        """Return what a bet is on, whether on more of it, and the cell of a rate."""
        ranks = RANK_BETS if self.ordered else 0
        if bet < ranks:
            polynomial, stake = divmod(bet, len(STAKES))
            return POLYNOMIALS[polynomial], STAKES[stake] > 0.0, None
        place, odds = divmod(bet - ranks, len(ODDS))
        return "rate", ODDS[odds] > 1.0, self.named[place]

    def log_payoffs(self, look: FloatArray, together: FloatArray) -> FloatArray:
        """Log of what every bet pays for a look.

        Parameters
        ----------
        look, together : ndarray of float64, shape (cells,)
            Rows by cell: of the look, and of the pool *with* the look.

        Returns
        -------
        ndarray of float64, shape (bets,)
        """
        drawn, total = float(look.sum()), float(together.sum())
        counts = np.zeros((2, self.cells + 1))
        np.cumsum(look, out=counts[0, 1:])
        np.cumsum(together, out=counts[1, 1:])
        hits = counts[:, self.ends] - counts[:, self.starts]
        rates = log_rate_bets(hits[0], hits[1], drawn, total)
        if not self.ordered:
            return rates
        line, pooled = look[: self.ordered], together[: self.ordered]
        if self.lumps.size:
            line = np.add.reduceat(line, self.lumps)
            pooled = np.add.reduceat(pooled, self.lumps)
        return np.concatenate((log_rank_bets(line, pooled), rates))


def bets_of(ordered: int, cells: int) -> Bets:
    """Return the bets over a feature's cells.

    Rates of numbers: both guards, both tails (a guard with the cell beside it), `invalid`,
    `missing`. Of categories: each with a cell, `new`, `missing`; not `other`: the most frequent
    categories of a sample are less frequent in truth, so that `other` always grows.

    Parameters
    ----------
    ordered, cells : int
        Leading cells that lie on a line (0: categories), and all of them.
    """
    if ordered:
        last = ordered - 1
        starts: tuple[int, ...] = (0, last, 0, max(last - 1, 0), ordered, ordered + 1)
        ends: tuple[int, ...] = (1, ordered, 2, ordered, ordered + 1, ordered + 2)
        named: tuple[int, ...] = (0, last, 0, last, ordered, ordered + 1)
        shares: tuple[float, ...] = (0.03, 0.03, 0.05, 0.05, 0.04, 0.10)
        only_more: tuple[bool, ...] = (True, True, False, False, True, False)
    else:
        top = cells - 3
        starts = named = (*range(top), top + 1, top + 2)
        ends = tuple(cell + 1 for cell in starts)
        shares = (*(0.8 / max(top, 1),) * top, 0.2, 0.1)
        only_more = (*(False,) * top, True, False)
    lumps = np.zeros(0, dtype=np.int64)
    if ordered > 2 * MOST_CELLS:
        lumps = np.unique(np.arange(MOST_CELLS) * ordered // MOST_CELLS).astype(np.int64)
    return Bets(
        ordered,
        cells,
        lumps,
        np.array(starts),
        np.array(ends),
        named,
        _log_prior(POLYNOMIAL_SHARES if ordered else (), np.array(shares), np.array(only_more)),
    )


def _log_prior(
    ranked: tuple[float, ...], shares: FloatArray, only_more: npt.NDArray[np.bool_]
) -> FloatArray:
    stakes, more = np.asarray(STAKE_WEIGHTS), np.asarray(MORE_WEIGHTS)
    ranks = np.outer(ranked, stakes / stakes.sum()).ravel()
    wanted = np.where(only_more[:, np.newaxis], more, 1.0)
    rates = wanted * (shares[:, np.newaxis] / wanted.sum(axis=1, keepdims=True))
    weights = np.concatenate((ranks, rates.ravel()))
    weights /= weights.sum()
    never = np.full(weights.size, -np.inf)
    return np.asarray(np.log(weights, out=never, where=weights > 0.0))


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
    drawn, total = float(look.sum()), float(together.sum())
    if not 0.0 < drawn < total:
        return np.zeros(len(POLYNOMIALS) * len(STAKES))
    x = (2.0 * np.cumsum(together) - together) / total - 1.0
    squared = x * x
    legendre = np.concatenate(
        (
            x,
            1.5 * squared - 0.5,
            (2.5 * squared - 1.5) * x,
            (4.375 * squared - 3.75) * squared + 0.375,
        )
    ).reshape(len(POLYNOMIALS), 1, x.size)
    weights = (_STAKES * legendre).reshape(RANK_BETS, x.size)
    weights += 1.0
    return np.asarray(np.log(weights) @ look - _log_mean(weights, together, drawn, total))


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
    hits = together[:, np.newaxis]
    rest = total - hits
    raised = hits * _ODDS
    # The tilt solves a quadratic equation; this root loses no digits.
    half = rest + raised - drawn * (1.0 + _ODDS)
    root = np.sqrt(half * half + 4.0 * drawn * (total - drawn) * _ODDS)
    tilt = np.where(
        half > 0.0, 2.0 * drawn / (half + root), (root - half) / (2.0 * (total - drawn) * _ODDS)
    )
    one, other = 1.0 + tilt, 1.0 + tilt * _ODDS
    spread = tilt * (rest / (one * one) + raised / (other * other))
    grown = rest * np.log(one) + hits * np.log(other)
    mean = _ratio(grown, spread, np.log(tilt), drawn, total)
    return np.asarray((look[:, np.newaxis] * _LOG_ODDS - mean).ravel())


def _log_mean(weights: FloatArray, together: FloatArray, drawn: float, total: float) -> FloatArray:
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
    tilt = drawn * total / ((total - drawn) * (weights @ together))
    scaled, kept = np.empty_like(weights), np.empty_like(weights)
    for _ in range(NEWTON_STEPS):
        np.multiply(weights, tilt[:, np.newaxis], out=scaled)
        np.divide(1.0, np.add(scaled, 1.0, out=kept), out=kept)
        scaled *= kept
        expected = scaled @ together
        scaled *= kept
        spread = scaled @ together
        tilt = tilt * np.exp((drawn - expected) / spread)
    np.multiply(weights, tilt[:, np.newaxis], out=scaled)
    grown = np.log1p(scaled, out=scaled) @ together
    return _ratio(grown, spread, np.log(tilt), drawn, total)


def _ratio(
    grown: FloatArray, spread: FloatArray, tilt: FloatArray, drawn: float, total: float
) -> FloatArray:
    share = drawn / total
    even = -total * math.log1p(-share) - drawn * math.log(share / (1.0 - share))
    scale = 0.5 * np.log(spread / (drawn * (1.0 - share)))
    return np.asarray(grown - drawn * tilt - scale - even)
