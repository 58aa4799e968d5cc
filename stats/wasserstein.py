"""Wasserstein-1 distance: how far rows moved on average, raw or in the reference's spread."""

import math
from dataclasses import dataclass

import numpy as np

from stats.arrays import FloatArray
from stats.confidence import Z, doubtful_noise, weighted_std
from stats.ecdf import Sample, as_pair
from stats.errors import InvalidInput, NoScale
from stats.results import Interval, Unit, Wasserstein

CLIP_SHARES = (0.001, 0.999)
"""Reference quantiles to which `winsorise` clips both windows."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """The line cut into k pieces with k + 1 ends, and where the rows lie.

    Attributes
    ----------
    gap, pooled, width : ndarray of float64, shape (k,)
        Mean |F - G|, pooled distribution function, and length of each piece.
    potential : ndarray of float64, shape (places,)
        Value of the best 1-Lipschitz function at the places that hold rows.
    p, q : ndarray of float64, shape (places,)
        Shares of rows there.
    """

    gap: FloatArray
    pooled: FloatArray
    width: FloatArray
    potential: FloatArray
    p: FloatArray
    q: FloatArray


def wasserstein(
    reference: Sample, current: Sample, *, unit: Unit = "raw", winsorise: bool = False
) -> Wasserstein:
    """Area between the two empirical distribution functions.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or Ecdf
        Raw rows; NaN and infinities are left out.
    unit : str
        `raw`; `sd`: over the reference's standard deviation (divisor m); `iqr`: over its
        quartile distance, which no outlier moves.
    winsorise : bool
        Clip both windows at the reference's 0.1 % and 99.9 % quantiles first, because one row
        at 1e6 among 2,000 makes a distance of hundreds; the result says so.

    Returns
    -------
    Wasserstein
        `value` in [0, inf). Without drift its mean on normal rows is 1.25 sqrt(1/m + 1/n) sd.
        The interval is the delta method's, less the noise that equal windows show where the
        sign of F - G is in doubt; the unit's own sampling error is not in it.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.
    NoScale
        If the reference has no spread in the unit asked for; it carries the raw distance.

    References
    ----------
    M. Sommerfeld and A. Munk, Inference for empirical Wasserstein distances on finite spaces,
    Journal of the Royal Statistical Society B 80 (2018) 219-238.

    Examples
    --------
    >>> wasserstein([0.0, 1.0, 3.0], [5.0, 6.0, 8.0]).value
    5.0
    """
    before, now = as_pair(reference, current)
    clipped_at, share = None, 0.0
    if winsorise:
        clipped_at = Interval(before.quantile(CLIP_SHARES[0]), before.quantile(CLIP_SHARES[1]))
        outside = (now.support < clipped_at.low) | (now.support > clipped_at.high)
        share = float(now.counts[outside].sum()) / now.n
        before = before.clip(clipped_at.low, clipped_at.high)
        now = now.clip(clipped_at.low, clipped_at.high)
    points = np.union1d(before.support, now.support)
    f, g = before.at(points), now.at(points)
    width = np.diff(points)
    difference = (f - g)[:-1]
    pieces = _Pieces(
        gap=np.abs(difference),
        pooled=((before.n * f + now.n * g) / (before.n + now.n))[:-1],
        width=width,
        potential=np.concatenate(([0.0], np.cumsum(np.sign(difference) * width))),
        p=np.diff(f, prepend=0.0),
        q=np.diff(g, prepend=0.0),
    )
    value, interval = _measure(pieces, before.n, now.n)
    scale = _scale(unit, {"sd": before.std(), "iqr": before.iqr()}, value)
    return Wasserstein(
        value=value / scale,
        interval=Interval(interval.low / scale, interval.high / scale),
        n_reference=before.n,
        n_current=now.n,
        unit=unit,
        scale=scale,
        bounds=Interval(value / scale, value / scale),
        clipped_at=clipped_at,
        clipped_share=share,
    )


def _measure(pieces: _Pieces, m: int, n: int) -> tuple[float, Interval]:
    value = float(pieces.gap @ pieces.width)
    error = np.sqrt(np.maximum(0.0, pieces.pooled * (1.0 - pieces.pooled)) * (1.0 / m + 1.0 / n))
    noise = doubtful_noise(pieces.gap, error, pieces.width)
    before = weighted_std(pieces.p, pieces.potential) / math.sqrt(m)
    half = Z * math.hypot(before, weighted_std(pieces.q, pieces.potential) / math.sqrt(n))
    return value, Interval(max(0.0, value - noise - half), value + half)


def _scale(unit: Unit, known: dict[str, float], distance: float) -> float:
    if unit == "raw":
        return 1.0
    if unit not in known:
        raise InvalidInput(f"unit is {unit!r}; it is one of raw, sd, iqr.")
    scale = known[unit]
    if scale <= 0.0:
        raise NoScale(unit, distance)
    return scale
