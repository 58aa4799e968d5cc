"""Laws of squared areas between distribution functions: Cramér-von Mises and Anderson-Darling.

Both are sums of chi-squares of one degree whose weights fall like 1 / j^2. Smirnov's integrals
keep the digits of tiny chances, where one less the distribution function has none left.
"""

import math
from collections.abc import Callable

import numpy as np

from stats.arrays import FloatArray
from stats.confidence import Z
from stats.results import Interval

_PIECES = 40
_NODES = 48
_CERTAIN = {"cvm": 0.003, "anderson": 0.03}
"""Below these the chance of less is under 1e-16."""


def cvm_sf(x: float) -> float:
    """Chance that the limit of Cramér-von Mises' statistic exceeds `x`.

    References
    ----------
    N. Smirnov, Sur la distribution de omega^2, Comptes Rendus 202 (1936) 449-452.

    Examples
    --------
    >>> round(cvm_sf(0.46136), 6)
    0.05
    """
    if x < _CERTAIN["cvm"]:
        return 1.0
    roots = (math.pi * np.arange(1.0, 2.0 * _PIECES + 1.0)) ** 2
    return _smirnov(x, roots, lambda u: np.sin(np.sqrt(u)) / np.sqrt(u))


def anderson_sf(x: float) -> float:
    """Chance that the limit of Anderson-Darling's statistic exceeds `x`.

    References
    ----------
    T. W. Anderson and D. A. Darling, Asymptotic theory of certain goodness of fit criteria,
    Annals of Mathematical Statistics 23 (1952) 193-212.

    Examples
    --------
    >>> round(anderson_sf(2.492), 4)
    0.05
    """
    if x < _CERTAIN["anderson"]:
        return 1.0
    places = np.arange(1, 2 * _PIECES + 1, dtype=np.float64)
    return _smirnov(
        x, places * (places + 1.0), lambda u: -np.cos(math.pi * np.sqrt(u + 0.25)) / (math.pi * u)
    )


def root_interval(square: float, noise: float) -> Interval:
    """Interval of a squared distance, by the triangle inequality on its root.

    Parameters
    ----------
    square : float
        The estimate, >= 0.
    noise : float
        Mean of the squared distance of both windows from their own populations.

    References
    ----------
    G. J. Szekely and N. K. Bakirov, Extremal probabilities for Gaussian quadratic forms,
    Probability Theory and Related Fields 126 (2003) 184-202: no sum of weighted chi-squares
    exceeds 3.84 times its mean more often than a single one does, 5 %.
    """
    root, reach = math.sqrt(square), Z * math.sqrt(noise)
    return Interval(max(0.0, root - reach) ** 2, (root + reach) ** 2)


def bridge_spread(pooled: FloatArray, weight: FloatArray, own: FloatArray) -> float:
    """Half the variance of a weighted sum of squares of a Brownian bridge at points k.

    Parameters
    ----------
    pooled, weight : ndarray of float64, shape (k,)
        Where, ascending in (0, 1), and how much each counts.
    own : ndarray of float64, shape (k,)
        Weight times the bridge's variance there.
    """
    below = np.cumsum(weight * pooled**2) - weight * pooled**2
    return float(2.0 * ((weight * (1.0 - pooled) ** 2) @ below) + own @ own)


def _smirnov(x: float, roots: FloatArray, determinant: Callable[[FloatArray], FloatArray]) -> float:
    """Alternating integrals of exp(-x u / 2) / (pi u sqrt(-D(u))) between pairs of roots of D."""
    low, high = roots[0::2, None], roots[1::2, None]
    angles = (np.arange(_NODES) + 0.5) * math.pi / _NODES
    half = (high - low) / 2.0
    u = (high + low) / 2.0 + half * np.cos(angles)
    # The root of -D vanishes at both ends as the sine does.
    weight = half * np.sin(angles) / np.sqrt(-determinant(u))
    pieces = (weight * np.exp(-x * u / 2.0) / u).sum(axis=1) / _NODES
    return float(min(1.0, max(0.0, pieces[0::2].sum() - pieces[1::2].sum())))
