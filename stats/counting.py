"""What Stirling's formula leaves out of factorials, for whole numbers of any size."""

import math

import numpy as np

from stats.arrays import FloatArray

_SERIES_FROM = 16
_SERIES = (1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0)
_LOG_ROOT = math.log(2.0 * math.pi) / 2.0


def stirling_error(n: FloatArray) -> FloatArray:
    """Return log n! less Stirling's formula log(sqrt(2 pi n) (n / e)**n), for whole n >= 1.

    References
    ----------
    C. Loader, Fast and accurate computation of binomial probabilities (2000).
    """
    inverse = 1.0 / (n * n)
    series = np.zeros_like(n)
    for factor in reversed(_SERIES):
        series = series * inverse + factor
    found = series / n
    small = n < _SERIES_FROM
    if np.any(small):
        found[small] = _small_errors()[n[small].astype(np.int64)]
    return found


def _small_errors() -> FloatArray:
    return np.array(
        [0.0]
        + [
            math.lgamma(n + 1.0) - (_LOG_ROOT + (n + 0.5) * math.log(n) - n)
            for n in range(1, _SERIES_FROM)
        ]
    )
