"""Bets of the sequential detector: what they pay is one on average as long as nothing drifts."""

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.counting import log_factorial

POLYNOMIALS = ("location", "spread", "skew")
"""Shifted Legendre polynomials 1 to 3: what each of them reacts to."""
STAKES = (-0.8, -0.4, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Share of the capital on a polynomial; below one, so that no bet is ever lost for good."""
ODDS = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 16.0, 64.0)
"""By how much a cell's odds may have changed."""
BLOCK = 256
"""Rows ranked against each other at a time: a square of this size is compared."""


def rank_p_values(
    rows: CountArray, pool: CountArray, generator: "np.random.Generator"
) -> tuple[FloatArray, CountArray]:
    """Rank each row in the pool, ties at random, then let it join the pool.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Cell of each row, in an order that says nothing about the values.
    pool : ndarray of int64, shape (cells,)
        Rows seen so far by ordered cell.

    Returns
    -------
    tuple of ndarray of float64, shape (n,), and of int64, shape (cells,)
        Independent uniform numbers if rows and pool are exchangeable; the grown pool.

    References
    ----------
    V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson and A. Gammerman, Retrain or not
    retrain: conformal test martingales for change-point detection, arXiv 2102.10439 (2021).
    """
    grown = pool.copy()
    ranks = np.empty(rows.size)
    draws = generator.random(rows.size)
    for start in range(0, rows.size, BLOCK):
        block = rows[start : start + BLOCK]
        earlier = np.tri(block.size, k=-1, dtype=np.bool_)
        beside, row = block[np.newaxis, :], block[:, np.newaxis]
        below = (np.cumsum(grown) - grown)[block] + ((beside < row) & earlier).sum(axis=1)
        ties = grown[block] + ((beside == row) & earlier).sum(axis=1)
        total = grown.sum() + np.arange(block.size)
        draw = draws[start : start + BLOCK]
        ranks[start : start + BLOCK] = (below + draw * (ties + 1)) / (total + 1)
        grown += np.bincount(block, minlength=grown.size)
    return ranks, grown


def log_rank_bets(ranks: FloatArray) -> FloatArray:
    """Log of what the thirty bets 1 + stake * polynomial pay over all of `ranks`.

    Returns
    -------
    ndarray of float64, shape (30,)
        By polynomial, then by stake.
    """
    x = 2.0 * ranks - 1.0
    polynomials = (x, (3.0 * x * x - 1.0) / 2.0, (5.0 * x**3 - 3.0 * x) / 2.0)
    return np.array([np.log1p(stake * g).sum() for g in polynomials for stake in STAKES])


def log_rate_bets(counts: CountArray, pool: CountArray, drawn: int, total: int) -> FloatArray:
    """Log of what the bets on changed odds of each cell pay for a look.

    Given the look and the pool together, without drift a cell's rows in the look are
    hypergeometric, whatever its true rate: the bet odds**rows over its mean under that law
    needs no estimate of the rate, so that the reference's own sampling error is never drift.

    Parameters
    ----------
    counts, pool : ndarray of int64, shape (cells,)
        Rows of the look, and of the pool *with* the look, of the cells that are bet on.
    drawn, total : int
        All rows of the look, and of the pool with the look: other cells included.

    Returns
    -------
    ndarray of float64, shape (cells * 8,)
        By cell, then by odds.

    References
    ----------
    V. Vovk, Conformal e-prediction, arXiv 2001.05989 (2020).
    """
    log_odds = np.log(ODDS)
    paid = [
        log_odds * rows - _log_mean(int(hits), total, drawn, log_odds) if hits else 0.0 * log_odds
        for rows, hits in zip(counts.tolist(), pool.tolist(), strict=True)
    ]
    return np.concatenate(paid)


def _log_mean(hits: int, total: int, drawn: int, log_odds: FloatArray) -> FloatArray:
    """Log mean of odds**X; X hypergeometric: `drawn` of `total`, `hits` of which count."""
    x = np.arange(max(0, drawn - (total - hits)), min(drawn, hits) + 1, dtype=np.float64)
    law = _log_choose(hits, x) + _log_choose(total - hits, drawn - x)
    tilted = law + log_odds[:, np.newaxis] * x
    return np.asarray(np.logaddexp.reduce(tilted, axis=1) - np.logaddexp.reduce(law))


def _log_choose(n: int, k: FloatArray) -> FloatArray:
    return log_factorial(np.array([float(n)])) - log_factorial(k) - log_factorial(n - k)
