"""Maximum mean discrepancy with a Gaussian kernel: many columns compared at once."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray
from stats.errors import InvalidInput, NotEnoughSamples
from stats.quadratic_law import root_interval
from stats.results import Interval, Measurement

BLOCK_BYTES = 4 * 1024 * 1024
"""Kernel values that are held at a time; 20,000 rows would need 3 GB at once."""
HEURISTIC_ROWS = 1_000
"""Rows, evenly through the sorted ones, whose distances set the kernel's width."""
PERMUTATIONS = 200


def mmd(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Distance of the means that both windows have among the functions of a Gaussian kernel.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) or (m, d), and (n,) or (n, d)
        Raw rows, d >= 1 columns of one unit (standardise them first); rows with a NaN or an
        infinity are left out. Memory is bounded by `BLOCK_BYTES`, time grows with (m + n)^2.

    Returns
    -------
    Measurement
        `value` in [0, sqrt(2)]; zero for equal samples; symmetric; unchanged where every column
        of both windows is moved, or all are scaled alike. The squared width of the
        kernel is the median of the pooled rows' squared distances, 1 where that is zero.

    Raises
    ------
    NotEnoughSamples
        If a window has fewer than two usable rows.
    InvalidInput
        If the windows have different columns.

    References
    ----------
    A. Gretton, K. Borgwardt, M. Rasch, B. Schoelkopf and A. Smola, A kernel two-sample test,
    Journal of Machine Learning Research 13 (2012) 723-773, the biased estimate of eq. 5.

    Examples
    --------
    >>> round(mmd([0.0, 0.0, 0.0], [9.0, 9.0, 9.0]).value, 4)
    1.1244
    """
    rows, m = _pooled(reference, current)
    n = len(rows) - m
    weights = np.zeros((m + n, 2))
    weights[:m, 0], weights[m:, 1] = 1.0 / m, 1.0 / n
    inner = np.zeros((2, 2))
    for place, kernel in _kernel(rows):
        inner += weights[place].T @ (kernel @ weights[place.start :])
    square = max(0.0, float(inner[0, 0] + inner[1, 1] - inner[0, 1] - inner[1, 0]))
    # A row's own kernel is 1; what the others fall short of it is the spread.
    noise = max(0.0, 1.0 - float(inner[0, 0])) / (m - 1)
    noise += max(0.0, 1.0 - float(inner[1, 1])) / (n - 1)
    inside = root_interval(square, noise)
    high = min(math.sqrt(2.0), math.sqrt(inside.high))
    return Measurement(math.sqrt(square), Interval(math.sqrt(inside.low), high), m, n)


def mmd_p_value(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    generator: "np.random.Generator",  # importing numpy.random takes 20 ms
    *,
    permutations: int = PERMUTATIONS,
) -> float:
    """Chance of at least this `mmd` when the pooled rows are dealt out at random.

    Parameters
    ----------
    generator : numpy.random.Generator
        Seeded by the caller: the same seed gives the same answer for the same rows, in any
        order within either window.
    permutations : int
        At least 1.

    Returns
    -------
    float
        (1 + deals at least as far apart) / (1 + `permutations`), so never zero.

    References
    ----------
    B. Phipson and G. Smyth, Permutation p-values should never be zero, Statistical Applications
    in Genetics and Molecular Biology 9 (2010) 39.
    """
    if permutations < 1:
        raise InvalidInput(f"permutations is {permutations}; at least 1 is needed.")
    rows, m = _pooled(reference, current)
    n = len(rows) - m
    weights = np.full((m + n, permutations + 1), -1.0 / n)
    weights[:m, 0] = 1.0 / m
    for deal in range(1, permutations + 1):
        weights[generator.permutation(m + n)[:m], deal] = 1.0 / m
    squares = np.zeros(permutations + 1)
    for place, kernel in _kernel(rows):
        squares += np.einsum("ij,ij->j", weights[place], kernel @ weights[place.start :])
    # Deals of equal rows are as far apart, but for rounding.
    reached = squares[1:] >= squares[0] - 1e-12
    return (1.0 + float(reached.sum())) / (1.0 + permutations)


def _pooled(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, int]:
    """Return usable rows of both, those of the reference first, and how many those are."""
    before, now = _rows(reference, "reference"), _rows(current, "current window")
    if before.shape[1] != now.shape[1]:
        raise InvalidInput(f"{before.shape[1]} columns in the reference, {now.shape[1]} now.")
    pooled = np.concatenate((before, now))
    # Far from zero the squares would lose what the rows differ by.
    pooled = pooled - np.median(pooled, axis=0)
    return pooled / _width(pooled), len(before)


def _rows(values: npt.ArrayLike, window: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] < 1:
        raise InvalidInput(f"rows must have shape (n,) or (n, d), got {array.shape}.")
    kept = array[np.isfinite(array).all(axis=1)]
    if len(kept) < 2:
        raise NotEnoughSamples(len(kept), 2, window)
    # In an order of their own, so that theirs changes no rounding and no permutation.
    return _ordered(kept)


def _ordered(rows: FloatArray) -> FloatArray:
    return np.asarray(rows[np.lexsort(rows.T[::-1])], dtype=np.float64)


def _width(pooled: FloatArray) -> float:
    ordered = _ordered(pooled)
    count = min(len(ordered), HEURISTIC_ROWS)
    chosen = ordered[np.linspace(0, len(ordered) - 1, count).round().astype(np.int64)]
    middle = math.sqrt(max(0.0, -2.0 * float(np.median(_exponents(chosen, chosen)))))
    return middle if middle > 0.0 else 1.0


def _kernel(rows: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Yield blocks of the symmetric kernel: rows against themselves, and twice the later ones."""
    start = 0
    while start < len(rows):
        size = max(1, BLOCK_BYTES // (8 * (len(rows) - start)))
        place = slice(start, min(len(rows), start + size))
        kernel = _exponents(rows[place], rows[start:])
        np.exp(kernel, out=kernel)
        kernel[:, place.stop - start :] *= 2.0
        yield place, kernel
        start = place.stop


def _exponents(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return minus half the squared distances, as one product of matrices."""
    left = np.column_stack((first, -0.5 * (first**2).sum(axis=1), np.ones(len(first))))
    right = np.column_stack((second, np.ones(len(second)), -0.5 * (second**2).sum(axis=1)))
    product = left @ right.T
    np.minimum(product, 0.0, out=product)
    return np.asarray(product, dtype=np.float64)
