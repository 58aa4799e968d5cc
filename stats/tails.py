"""Upper tails of the binomial, the hypergeometric and Student's law, in plain Python.

Monitors ask for a handful of them a look: no array library pays off here.
"""

import math

from stats.errors import InvalidInput

_STEPS = 10_000
_TINY = 1e-300
_ACCURACY = 1e-14


def binomial_tail(hits: int, n: int, share: float) -> float:
    """Chance of `hits` or more of `n` rows where each hits with chance `share`.

    Parameters
    ----------
    hits, n : int
        0 <= hits <= n.
    share : float
        0..1.

    References
    ----------
    NIST Digital Library of Mathematical Functions, 8.17.5.

    Examples
    --------
    >>> round(binomial_tail(2, 2, 0.1), 12)
    0.01
    """
    if not 0 <= hits <= n:
        raise InvalidInput(f"{hits} hits of {n} rows; hits must lie in 0..n.")
    if hits == 0 or share >= 1.0:
        return 1.0
    return beta_share(hits, n - hits + 1, share)


def student_tail(t: float, degrees: float) -> float:
    """Chance of more than `t` under Student's law; `degrees` need not be whole.

    References
    ----------
    M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.1.
    """
    if degrees <= 0.0:
        raise InvalidInput(f"{degrees} degrees of freedom; more than 0 are needed.")
    tail = 0.5 * beta_share(degrees / 2.0, 0.5, degrees / (degrees + t * t))
    return tail if t >= 0.0 else 1.0 - tail


def hypergeometric_tail(hits_before: int, m: int, hits_now: int, n: int) -> float:
    """Chance of `hits_now` or more in the second of two windows of one share (Fisher's test).

    Given all hits together, the second window's are hypergeometric whatever the share: the test
    is exact for any sizes, and conservative.

    Parameters
    ----------
    hits_before, m, hits_now, n : int
        Hits and rows of the first and of the second window.

    References
    ----------
    R. A. Fisher, The logic of inductive inference, JRSS 98 (1935) 39-82.
    """
    if not (0 <= hits_before <= m and 0 <= hits_now <= n):
        raise InvalidInput(f"{hits_before} of {m} and {hits_now} of {n} rows hit.")
    hits, rows = hits_before + hits_now, m + n
    if hits_now <= max(0, hits - m):
        return 1.0
    mean = hits * (n / rows)
    if hits_now <= mean:
        return 1.0 - _down(hits_now - 1, hits, rows, n)
    return _up(hits_now, hits, rows, n)


def beta_share(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction.

    References
    ----------
    W. H. Press et al., Numerical Recipes, 3rd edition, 6.4; W. J. Lentz, Applied Optics 15 (1976).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(a, b, x) / a)
    return max(0.0, 1.0 - front * _fraction(b, a, 1.0 - x) / b)


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, _apart(1.0 - (a + b) * x / (a + 1.0))
    d = 1.0 / d
    found = d
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1.0) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1.0))
        for part in (even, odd):
            d = 1.0 / _apart(1.0 + part * d)
            c = _apart(1.0 + part / c)
            found *= d * c
        if abs(d * c - 1.0) < _ACCURACY:
            break
    return found


def _apart(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_law(x: int, hits: int, rows: int, drawn: int) -> float:
    return _log_choose(hits, x) + _log_choose(rows - hits, drawn - x) - _log_choose(rows, drawn)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _up(x: int, hits: int, rows: int, drawn: int) -> float:
    """Sum of the law from `x` on; terms fall, since `x` lies above the mean."""
    first = _log_law(x, hits, rows, drawn)
    term = total = 1.0
    for k in range(x, min(hits, drawn)):
        term *= (hits - k) / (k + 1) * (drawn - k) / (rows - hits - drawn + k + 1)
        total += term
        if term < _ACCURACY * total:
            break
    return min(1.0, math.exp(first + math.log(total)))


def _down(x: int, hits: int, rows: int, drawn: int) -> float:
    """Sum of the law up to `x`; terms fall downwards, since `x` lies below the mean."""
    least = max(0, drawn - (rows - hits))
    if x < least:
        return 0.0
    first = _log_law(x, hits, rows, drawn)
    term = total = 1.0
    for k in range(x, least, -1):
        term *= k / (hits - k + 1) * (rows - hits - drawn + k) / (drawn - k + 1)
        total += term
        if term < _ACCURACY * total:
            break
    return min(1.0, math.exp(first + math.log(total)))
