"""Fixed random projections: what a long vector looks like from a few directions.

Directions of random signs keep distances about as well as Gaussian ones do, and are the same on
every machine: Achlioptas, "Database-friendly random projections: Johnson-Lindenstrauss with binary
coins", Journal of Computer and System Sciences 66 (2003).
"""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray
from stats.errors import InvalidInput

DIRECTIONS = 16
_SEED = b"driftgate/projection/1/"


class Projected(NamedTuple):
    """A vector seen from a few directions.

    Attributes
    ----------
    norm : float
        Its Euclidean length, >= 0.
    along : ndarray of float64, shape (DIRECTIONS,)
        Parts of the vector of length one along the directions: mean 0 and variance 1 over all
        directions, in [-sqrt(width), sqrt(width)]. NaN where the vector has no length, or an
        element is no finite number.
    """

    norm: float
    along: FloatArray


def directions(width: int) -> FloatArray:
    """Return the directions for vectors of a width: +1 and -1, bits of SHAKE-256 (FIPS 202).

    Nothing of it depends on a generator of numpy's, so that what was projected years ago lies
    where it lay.

    Parameters
    ----------
    width : int
        >= 1; every width has its own directions.

    Returns
    -------
    ndarray of float64, shape (DIRECTIONS, width)
    """
    if width < 1:
        raise InvalidInput(f"a vector needs an element or more, got {width}.")
    drawn = hashlib.shake_256(_SEED + str(width).encode()).digest(DIRECTIONS // 8 * width)
    bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8), bitorder="little")
    signs = bits.reshape(width, DIRECTIONS).T.astype(np.float64) * 2.0 - 1.0
    return np.ascontiguousarray(signs, dtype=np.float64)


def project(vector: npt.ArrayLike, along: FloatArray) -> Projected:
    """Project a vector.

    Parameters
    ----------
    vector : array_like of shape (width,)
    along : ndarray of float64, shape (DIRECTIONS, width)
        From `directions`.

    Raises
    ------
    InvalidInput
        The vector is not of the directions' width.
    """
    values = np.asarray(vector, dtype=np.float64)
    if values.shape != along.shape[1:]:
        message = f"a vector of shape {values.shape} for directions of width {along.shape[1]}."
        raise InvalidInput(message)
    # Squares of large numbers are beyond what a float holds.
    largest = float(np.abs(values).max())
    if not 0.0 < largest < np.inf:
        return Projected(largest, np.full(len(along), np.nan))
    scaled = values / largest
    length = float(np.sqrt(scaled @ scaled))
    return Projected(largest * length, along @ (scaled / length))
