"""Wasserstein-1 distance: how far rows moved on average, raw or in the reference's spread."""

import math
from dataclasses import replace

from stats.confidence import Z
from stats.ecdf import Sample, as_pair
from stats.errors import InvalidInput, NoScale
from stats.grid_line import measure_prepared
from stats.gridded import Prepared, prepared_pair
from stats.line import Line, measure
from stats.results import Interval, Unit, Wasserstein

CLIP_SHARES = (0.001, 0.999)
"""Reference quantiles to which `winsorise` clips both windows."""


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
    if not winsorise:
        pair = prepared_pair(reference, current)
        return wasserstein_of(measure_prepared(*pair), pair[0], pair[1].n, unit)
    before, now = as_pair(reference, current)
    low, high = (before.quantile(share) for share in CLIP_SHARES)
    share = float(now.counts[(now.support < low) | (now.support > high)].sum()) / now.n
    before, now = before.clip(low, high), now.clip(low, high)
    found = wasserstein_of(measure(before, now), before, now.n, unit)
    return replace(found, clipped_at=Interval(low, high), clipped_share=share)


def wasserstein_of(line: Line, before: Prepared, n: int, unit: Unit = "raw") -> Wasserstein:
    """Return the distance of windows that were measured already; raises NoScale."""
    value, scale = line.area, _scale(unit, before, line.area)
    half = Z * math.hypot(line.spread_before / math.sqrt(before.n), line.spread_now / math.sqrt(n))
    inside = Interval(max(0.0, value - line.noise - half) / scale, (value + half) / scale)
    bounds = Interval(value / scale, value / scale)
    return Wasserstein(value / scale, inside, before.n, n, unit, scale, bounds)


def _scale(unit: Unit, before: Prepared, distance: float) -> float:
    if unit == "raw":
        return 1.0
    if unit not in ("sd", "iqr"):
        raise InvalidInput(f"unit is {unit!r}; it is one of raw, sd, iqr.")
    scale = before.std() if unit == "sd" else before.iqr()
    if scale <= 0.0:
        raise NoScale(unit, distance)
    return scale
