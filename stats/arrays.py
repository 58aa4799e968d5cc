"""The two kinds of array that come in, checked once at the border."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stats.errors import InvalidInput, NotEnoughSamples

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Values = npt.ArrayLike | Sequence[float | None]
"""Rows of a numeric feature; None and NaN are missing."""


def as_values(values: Values) -> FloatArray:
    """Return `values` as a 1-d float64 array; None becomes NaN.

    Raises
    ------
    InvalidInput
        If there is more than one dimension or something that is no number.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = f"values must be numbers or None, got {error}; use CategoryCells for text."
        raise InvalidInput(message) from error
    if array.ndim != 1:
        raise InvalidInput(f"values must have one dimension, got shape {array.shape}.")
    return array


def as_counts(counts: npt.ArrayLike, window: str = "window") -> CountArray:
    """Return `counts` as a 1-d int64 array of whole numbers >= 0 that are not all zero.

    Raises
    ------
    InvalidInput
        If a count is negative or not whole, or there is more than one dimension.
    NotEnoughSamples
        If they add up to zero.
    """
    array = np.asarray(counts)
    whole = array.astype(np.int64)
    if array.ndim != 1:
        raise InvalidInput(f"counts must have one dimension, got shape {array.shape}.")
    broken = array.dtype != np.int64 and np.any(whole != array)
    if broken or whole.min(initial=0) < 0:
        raise InvalidInput(f"counts of the {window} must be whole numbers >= 0.")
    if not whole.any():
        raise NotEnoughSamples(0, 1, window)
    return whole


def as_count_pair(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[CountArray, CountArray]:
    """Check two count vectors over the same cells; raises as `as_counts`."""
    p = as_counts(reference, "reference")
    q = as_counts(current, "current window")
    if p.shape != q.shape:
        message = f"counts over different cells: {p.size} in the reference, {q.size} now."
        raise InvalidInput(message)
    return p, q
