"""The law of the two-sided Kolmogorov-Smirnov distance of one sample, for any size.

Small samples take the exact recursion, large ones an expansion around the limit; the far tail is
twice the one-sided law, whose terms are all positive, so that tiny chances keep their digits.
scipy takes seconds of CPU to import for the same numbers.
"""

import math

import numpy as np

from stats.arrays import FloatArray
from stats.counting import stirling_error

EXACT_UP_TO = 140
"""Sizes up to which the matrix is used where the tail is not."""
_TAIL = 2.2
"""n d**2 from which a larger size's law is twice the one-sided one."""
_TAIL_OF_SMALL = 4.0
_CERTAIN = 0.03
"""n d**2 below which the limit's mass is under 1e-16."""
_BLOCK = 1 << 20
_SMOOTH_FROM = 400.0
"""n d from which the terms at either end are below 1e-100, so that some of them may be left out."""
_POINTS = 1 << 13
"""Terms that are summed at least."""
_WIDTHS = 8.0
"""Steps in a standard deviation of the bell: its error is below 1e-50."""
_TERMS = 12
"""Of the limit's series: the last one is below 1e-100 where they are used."""


def ks_sf(d: float, n: int) -> float:
    """Chance that the distance of `n` rows from their own continuous law is at least `d`.

    Parameters
    ----------
    d : float
        In [0, 1].
    n : int
        At least 1.

    References
    ----------
    R. Simard and P. L'Ecuyer, Computing the two-sided Kolmogorov-Smirnov distribution, Journal
    of Statistical Software 39/11 (2011). G. Marsaglia, W. W. Tsang and J. Wang, Evaluating
    Kolmogorov's distribution, same journal 8/18 (2003).
    """
    scaled = n * d
    if d >= 1.0 or scaled <= 0.5:
        return 0.0 if d >= 1.0 else 1.0
    square = scaled * d
    if scaled >= n - 1:
        return 2.0 * math.exp(n * math.log1p(-d))
    if d >= 0.5 or square >= (_TAIL_OF_SMALL if n <= EXACT_UP_TO else _TAIL):
        return min(1.0, 2.0 * one_sided_sf(d, n))
    if n <= EXACT_UP_TO or (n * d**1.5 <= 1.4 and square > _CERTAIN):
        return min(1.0, max(0.0, 1.0 - _by_matrix(scaled, n)))
    return min(1.0, max(0.0, 1.0 - _by_expansion(math.sqrt(square), n)))


def one_sided_sf(d: float, n: int) -> float:
    """Chance that the one-sided distance of `n` rows is at least `d`, in (0, 1).

    References
    ----------
    N. V. Smirnov (1944), in the form of Z. W. Birnbaum and F. H. Tingey, Annals of Mathematical
    Statistics 22 (1951) 592-596. Terms are binomial chances after C. Loader, Fast and accurate
    computation of binomial probabilities (2000).
    """
    # The term of no rows above, and where it falls on the border the one of all of them.
    total = math.exp(n * math.log1p(-d))
    last = math.floor(n * (1.0 - d))
    step = _stride(d, n)
    for start in range(1, last + 1, _BLOCK * step):
        total += step * _smirnov_terms(d, n, range(start, last + 1, step)[:_BLOCK])
    return min(1.0, total)


def _stride(d: float, n: int) -> int:
    """Every which term is enough of the sum.

    The terms are a smooth bell that is flat at both ends, of which equally spaced points have the
    sum to the last digit once its width, sqrt(n) / (2.8 d) at most, is several of their steps:
    by Poisson's formula the error is exp(-2 (pi width / step)**2).
    """
    if n * d < _SMOOTH_FROM:
        return 1
    return max(1, min(n // _POINTS, math.floor(math.sqrt(n) / (2.8 * d * _WIDTHS))))


def _smirnov_terms(d: float, n: int, which: range) -> float:
    j = np.arange(which.start, which.stop, which.step, dtype=np.float64)
    rest = n - j
    inside = rest > n * d
    j, rest = j[inside], rest[inside]
    # First-order parts cancel exactly, hence log1p: n [u ln(u/(u+d)) + (1-u) ln((1-u)/(1-u-d))].
    spread = j * np.log1p(n * d / j) + rest * np.log1p(-n * d / rest)
    error = stirling_error(np.array([float(n)]))[0] - stirling_error(j) - stirling_error(rest)
    weight = d / (j / n + d) * np.sqrt(n / (2.0 * math.pi * j * rest))
    return float(np.sum(weight * np.exp(spread + error)))


def _by_matrix(scaled: float, n: int) -> float:
    """Mass below d: n! / n**n times the middle of the n-th power of a matrix of 2k - 1 rows."""
    k = math.floor(scaled) + 1
    size, h = 2 * k - 1, k - scaled
    lag = np.subtract.outer(np.arange(size), np.arange(size)) + 1
    matrix = np.where(lag >= 0, 1.0, 0.0)
    powers = h ** np.arange(1, size + 1)
    matrix[:, 0] -= powers
    matrix[-1, :] -= powers[::-1]
    matrix[-1, 0] += max(0.0, 2.0 * h - 1.0) ** size
    factorials = np.concatenate(([1.0], np.cumprod(np.arange(1.0, size + 1.0))))
    matrix = np.where(lag > 0, matrix / factorials[np.maximum(lag, 0)], matrix)
    power, exponent = _power(matrix, n)
    middle = float(power[k - 1, k - 1])
    for i in range(1, n + 1):
        middle *= i / n
        if middle < 1e-140:
            middle, exponent = middle * 1e140, exponent - 140
    return middle * 10.0**exponent


def _power(matrix: FloatArray, n: int) -> tuple[FloatArray, int]:
    """Return a power as mantissa and exponent of ten, so that nothing overflows."""
    result, exponent = np.eye(len(matrix)), 0
    base, of_base = matrix, 0
    while n:
        if n & 1:
            result, exponent = result @ base, exponent + of_base
        base, of_base = base @ base, 2 * of_base
        if base.max() > 1e140:
            base, of_base = base * 1e-140, of_base + 140
        if result.max() > 1e140:
            result, exponent = result * 1e-140, exponent + 140
        n >>= 1
    return result, exponent


def _by_expansion(z: float, n: int) -> float:
    """Mass below z / sqrt(n), to the order n**-1.5.

    References
    ----------
    W. Pelz and I. J. Good, Approximating the lower tail-areas of the Kolmogorov-Smirnov
    one-sample statistic, Journal of the Royal Statistical Society B 38 (1976) 152-156.
    """
    z2, z4, z6, z8 = z**2, z**4, z**6, z**8
    first = second = third = fourth = 0.0
    for k in range(_TERMS):
        q = (math.pi * (k + 0.5)) ** 2
        decay = 2.0 * math.exp(-q / (2.0 * z2))
        first += decay
        second += (q - z2) * decay
        third += (6 * z6 + 2 * z4 + q * (2 * z4 - 5 * z2) + q**2 * (1 - 2 * z2)) * decay
        fourth += (
            q**3 * (5 - 30 * z2)
            + q**2 * (-60 * z2 + 212 * z4)
            + q * (135 * z4 - 96 * z6)
            - 30 * z6
            - 90 * z8
        ) * decay
    even = late = 0.0
    for k in range(1, _TERMS):
        q = (math.pi * k) ** 2
        decay = math.exp(-q / (2.0 * z2))
        even += 2.0 * q * decay
        late += (3 * q * z2 - q**2) * decay
    root = math.sqrt(math.pi / 2.0)
    terms = (
        root * first / z,
        root * second / (6.0 * z4),
        root * (third / (72.0 * z**7) - even / (36.0 * z**3)),
        root * (fourth / (6480.0 * z**10) + late / (108.0 * z6)),
    )
    return sum(term / math.pow(n, order / 2.0) for order, term in enumerate(terms))
