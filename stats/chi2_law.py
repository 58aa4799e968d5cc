"""The chi-square law and its noncentral one, in closed forms: far tails keep their digits.

Whole degrees of freedom make the upper tail a finite sum of positive terms, so that nothing
cancels; scipy takes half a second to import for the same numbers.
"""

import math

import numpy as np

from stats.arrays import FloatArray
from stats.errors import InvalidInput

_NEGLIGIBLE = 1e-17
_CLOSE = 1e-14
"""Relative step at which a search has found what doubles can tell apart."""
_REACH = 9.0
"""Standard deviations of a Poisson law beyond which its terms are no longer seen."""
_MOST_STEPS = 200


def chi2_sf(x: float, degrees: int) -> float:
    """Chance that a chi-square variable with `degrees` >= 1 degrees of freedom exceeds `x` >= 0.

    References
    ----------
    M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.4.4 and 26.4.5.

    Examples
    --------
    >>> round(chi2_sf(16.918977604620448, 9), 12)
    0.05
    """
    if degrees < 1 or math.isnan(x):
        raise InvalidInput(f"{degrees} degrees of freedom at {x}; at least 1 are needed.")
    if x <= 0.0:
        return 1.0
    half = x / 2.0
    terms, odd = divmod(degrees, 2)
    start = math.erfc(math.sqrt(half)) if odd else 0.0
    return min(1.0, start + _poisson_sum(half, terms, 0.5 if odd else 0.0))


def chi2_isf(share: float, degrees: int) -> float:
    """Value that is exceeded with chance `share` in (0, 1); the inverse of `chi2_sf`.

    Examples
    --------
    >>> round(chi2_isf(0.05, 9), 9)
    16.918977605
    """
    if not 0.0 < share < 1.0:
        raise InvalidInput(f"share is {share}; a chance lies between 0 and 1.")
    low, high = 0.0, float(degrees)
    while chi2_sf(high, degrees) > share:
        low, high = high, 2.0 * high
    wanted = math.log(share)
    x = (low + high) / 2.0
    for _ in range(_MOST_STEPS):
        tail = chi2_sf(x, degrees)
        if tail > share:
            low = x
        else:
            high = x
        # Newton on the logarithm, which is nearly straight; halving where it leaves the bracket.
        slope = _density(x, degrees) / tail if tail > 0.0 else 0.0
        step = (math.log(tail) - wanted) / slope if slope > 0.0 else math.inf
        found = x + step
        if not low < found < high:
            found = (low + high) / 2.0
        if abs(found - x) <= _CLOSE * x:
            return found
        x = found
    return x


def noncentrality_of(x: float, degrees: int, share: float, reach: float) -> float:
    """Noncentrality at which the noncentral chi-square law has `share` of its mass up to `x`.

    Parameters
    ----------
    x : float
        >= 0.
    degrees : int
        >= 1.
    share : float
        In (0, 1).
    reach : float
        The normal value that is exceeded with chance `share`.

    Returns
    -------
    float
        0.0 where even the central law has less than `share` up to `x`.
    """
    if 1.0 - chi2_sf(x, degrees) <= share:
        return 0.0
    # (Z + sqrt(lambda))**2 is part of the sum, so this end is never exceeded.
    high = (math.sqrt(x) + reach) ** 2
    middle = math.sqrt(max(0.0, x - degrees + 1.0)) + reach
    low = max(0.0, middle - 3.0) ** 2 if middle > 0.0 else 0.0
    mixture = _Mixture(x, degrees, low, high)
    if low > 0.0 and mixture.below(low)[0] < share:
        low = 0.0
        mixture = _Mixture(x, degrees, low, high)
    found = min(max(middle**2, low), high)
    for _ in range(_MOST_STEPS):
        mass, slope = mixture.below(found)
        if mass > share:
            low = found
        else:
            high = found
        moved = found - (mass - share) / slope if slope < 0.0 else math.inf
        if not low < moved < high:
            moved = (low + high) / 2.0
        if abs(moved - found) <= _CLOSE * max(found, 1e-3):
            return moved
        found = moved
    return found


class _Mixture:
    """Noncentral chi-square laws at one point, for noncentralities in [low, high].

    Each is a Poisson mixture of central ones, whose masses are computed once for all of them.
    """

    def __init__(self, x: float, degrees: int, low: float, high: float) -> None:
        half = x / 2.0
        first = max(0, math.floor(low / 2.0 - _REACH * math.sqrt(low / 2.0)) - 1)
        last = max(high / 2.0, half)
        last += _REACH * math.sqrt(last) + 40.0
        self._index = np.arange(first, math.ceil(last), dtype=np.float64)
        self._log_index = np.log(np.maximum(self._index, 1.0))
        self._terms = _gamma_terms(half, degrees / 2.0 + self._index)
        # P(a, h) is the sum of the terms from a on: adding from the top keeps small ones.
        self._masses = np.cumsum(self._terms[::-1])[::-1]

    def below(self, noncentrality: float) -> tuple[float, float]:
        """Mass up to the point, and its derivative by the noncentrality."""
        mean = noncentrality / 2.0
        if mean == 0.0:
            return float(self._masses[0]), -float(self._terms[0]) / 2.0
        steps = math.log(mean) - self._log_index
        steps[0] = 0.0
        logs = np.cumsum(steps)
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        return float(weights @ self._masses), -float(weights @ self._terms) / 2.0


def _gamma_terms(half: float, shape: FloatArray) -> FloatArray:
    """exp(-h) h**a / Gamma(a + 1) for shapes that rise by one."""
    place = min(shape.size - 1, max(0, math.floor(half - shape[0])))
    peak = float(shape[place])
    centre = peak * math.log(half) - half - math.lgamma(peak + 1.0)
    steps = math.log(half) - np.log(shape)
    steps[0] = 0.0
    logs = np.cumsum(steps)
    return np.asarray(np.exp(logs - logs[place] + centre), dtype=np.float64)


def _poisson_sum(half: float, terms: int, shift: float) -> float:
    """Sum of exp(-h) h**a / Gamma(a + 1) over a = shift, shift + 1, ...: `terms` of them."""
    if terms == 0:
        return 0.0
    # From the greatest term both ways, so that none underflows that counts.
    peak = min(terms - 1, max(0, math.floor(half - shift)))
    shape = peak + shift
    largest = math.exp(shape * math.log(half) - half - math.lgamma(shape + 1.0))
    total = term = largest
    for k in range(peak, 0, -1):
        term *= (k + shift) / half
        total += term
        if term <= _NEGLIGIBLE * total:
            break
    term = largest
    for k in range(peak + 1, terms):
        term *= half / (k + shift)
        total += term
        if term <= _NEGLIGIBLE * total:
            break
    return total


def _density(x: float, degrees: int) -> float:
    shape = degrees / 2.0
    return math.exp((shape - 1.0) * math.log(x / 2.0) - x / 2.0 - math.lgamma(shape)) / 2.0
