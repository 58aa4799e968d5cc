"""Quantiles from logarithmic buckets: 1 % relative error, and buckets of any workers add up."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, as_values
from stats.confidence import Z
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Estimate, Interval

BUCKETS_PER_E = 50.5
"""Buckets in a factor of e; roll-ups store `round(ln(ms) * 50.5)`, so this never changes."""
GAMMA = math.exp(1.0 / BUCKETS_PER_E)
RELATIVE_ERROR = math.sqrt(GAMMA) - 1.0
"""Half a bucket: 0.995 %, the most by which a quantile differs from a value of that rank."""
SMALLEST = 1e-6
"""Values below (zero among them) are counted as this one: a picosecond, where the unit is ms."""


def bucket_keys(values: npt.ArrayLike) -> CountArray:
    """Return the bucket of each value, as the roll-ups do in SQL.

    Parameters
    ----------
    values : array_like, shape (n,)
        Finite and >= 0; milliseconds in the latency roll-up.

    Raises
    ------
    InvalidInput
        If a value is negative, NaN or infinite.
    """
    array = as_values(values)
    if not np.all(np.isfinite(array) & (array >= 0.0)):
        raise InvalidInput("bucketed values must be finite and >= 0; leave missing rows out.")
    logs = np.log(np.maximum(array, SMALLEST)) * BUCKETS_PER_E
    # SQL rounds halves away from zero, numpy to even.
    return np.asarray(np.copysign(np.floor(np.abs(logs) + 0.5), logs), dtype=np.int64)


def bucket_value(key: int) -> float:
    """Return the value that stands for a bucket: its middle on the logarithmic line."""
    return math.exp(key / BUCKETS_PER_E)


def bucket_counts(values: npt.ArrayLike) -> dict[int, int]:
    """Rows by bucket, keys ascending; what a roll-up holds."""
    keys, counts = np.unique(bucket_keys(values), return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def merge_buckets(shards: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Add up roll-ups of workers, hours or routes; keys ascending."""
    total: dict[int, int] = {}
    for shard in shards:
        for key, rows in shard.items():
            total[key] = total.get(key, 0) + rows
    return dict(sorted(total.items()))


def quantile(buckets: Mapping[int, int], share: float) -> Estimate:
    """Return a quantile of bucketed rows with its 95 % interval from order statistics.

    Parameters
    ----------
    buckets : mapping of int to int
        Bucket to rows, in any order.
    share : float
        0..1, such as 0.99.

    Returns
    -------
    Estimate
        Within `RELATIVE_ERROR` of the value of rank ceil(share * n); the interval's ends are
        within it of the values of the binomial's 2.5 % and 97.5 % ranks.

    Raises
    ------
    NotEnoughSamples
        If there are no rows.

    References
    ----------
    C. Masson, J. E. Rim and H. K. Lee, DDSketch, PVLDB 12 (2019) 2195-2205.

    Examples
    --------
    >>> round(quantile(bucket_counts([100.0, 200.0, 300.0]), 0.5).value)
    202
    """
    if not 0.0 <= share <= 1.0:
        raise InvalidInput(f"share is {share}; it must lie in 0..1, so p99 is 0.99.")
    keys = np.array(sorted(buckets), dtype=np.int64)
    rows = np.array([buckets[key] for key in keys.tolist()], dtype=np.int64)
    if np.any(rows < 0):
        raise InvalidInput("bucketed rows must be counts >= 0.")
    n = int(rows.sum())
    if n < 1:
        raise NotEnoughSamples(n, 1)
    spread = Z * math.sqrt(n * share * (1.0 - share))
    wanted = np.array([share * n, share * n - spread, share * n + spread + 1.0])
    # A product such as 0.1 * 30 may lie a rounding error above the rank that is meant.
    ranks = np.clip(np.ceil(wanted - 1e-9), 1, n)
    found = keys[np.searchsorted(np.cumsum(rows), ranks)]
    value, low, high = (bucket_value(key) for key in found.tolist())
    return Estimate(value, Interval(low, high), n)
