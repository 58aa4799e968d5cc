"""How large a data directory will get, and when its disk is full."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

_HORIZON_DAYS = 3650


class Kind(msgspec.Struct, frozen=True):
    """One kind of data: how much there is, and how it comes and goes.

    Attributes
    ----------
    bytes : int
        Now on disk.
    bytes_per_day : float
        Added a day, over the last days.
    age_days : float
        Of the oldest.
    kept_days : float
        It is removed at that age.
    limit_bytes : int or None
        And beyond that size.
    """

    name: str
    bytes: int
    bytes_per_day: float
    age_days: float
    kept_days: float
    limit_bytes: int | None = None


class Forecast(msgspec.Struct, frozen=True):
    """What comes if nothing changes.

    Attributes
    ----------
    steady_bytes : int
        Size at which as much goes as comes.
    steady_in_days : int
        Until then.
    full_in_days : int or None
        Until the disk is full; None is never.
    """

    kinds: tuple[Kind, ...]
    bytes: int
    steady_bytes: int
    steady_in_days: int
    free_bytes: int
    full_in_days: int | None


def size_after(kind: Kind, days: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the bytes of a kind after so many days, in the shape of `days`.

    What there is now is taken to be spread evenly over its age.
    """
    after = np.asarray(days, dtype=np.float64)
    age = max(kind.age_days, 1e-9)
    expired_share = np.clip((after + age - kind.kept_days) / age, 0.0, 1.0)
    added_days = np.minimum(after, kind.kept_days)
    size = kind.bytes * (1.0 - expired_share) + kind.bytes_per_day * added_days
    limit = np.inf if kind.limit_bytes is None else max(kind.limit_bytes, 0)
    return np.minimum(size, limit)


def forecast(
    kinds: Sequence[Kind], *, free_bytes: int, total_limit_bytes: int | None = None
) -> Forecast:
    """Return what comes.

    Parameters
    ----------
    free_bytes : int
        Of the disk, now.
    total_limit_bytes : int or None
        Of all kinds together.
    """
    now = sum(kind.bytes for kind in kinds)
    days_kept = max((kind.kept_days for kind in kinds), default=0.0)
    last = min(int(days_kept) + 1, _HORIZON_DAYS)
    days = np.arange(last + 1)
    limit = np.inf if total_limit_bytes is None else total_limit_bytes
    sizes = np.minimum(sum((size_after(kind, days) for kind in kinds), np.zeros(last + 1)), limit)
    steady = float(sizes[-1])
    too_many = np.flatnonzero(sizes - now > free_bytes)
    full = int(too_many[0]) if too_many.size else None
    unsettled = np.flatnonzero(np.abs(sizes - steady) > 0.01 * max(steady, 1.0))
    settled = int(unsettled[-1]) + 1 if unsettled.size else 0
    return Forecast(tuple(kinds), now, round(steady), settled, free_bytes, full)
