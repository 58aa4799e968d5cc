"""Distances of a bucketed window from a reference, with bounds of what its rows would give."""

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.buckets import Sketch, bucket_numbers, middles, spans
from stats.ecdf import Ecdf
from stats.errors import NoScale, NotEnoughSamples
from stats.ks import ks_interval
from stats.results import Interval, Ks, Wasserstein
from stats.wasserstein import CLIP_SHARES, wasserstein


def ks_from_sketch(reference: Ecdf, current: Sketch, before: Sketch | None = None) -> Ks:
    """Return D at the buckets' borders, and the most that it can be between them.

    Parameters
    ----------
    before : Sketch, optional
        The reference by bucket, where it is known already.

    Returns
    -------
    Ks
        `value` never exceeds D of the rows, and falls short by less than the share of a bucket
        in which both windows have rows; `bounds` has both ends.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.
    """
    before = _known(reference, current, before)
    buckets = np.union1d(before.buckets, current.buckets)
    rows, rows_now = _on(before, buckets), _on(current, buckets)
    m, n = before.n, current.n
    f, g = _shares(rows, m), _shares(rows_now, n)
    gap = np.abs(f - g)[1:]
    place = int(np.argmax(gap))
    d = float(gap[place])
    # Where one of the two has no rows it is flat, and the other furthest from it at an end.
    both = (rows > 0) & (rows_now > 0)
    most = np.maximum(f[1:] - g[:-1], g[1:] - f[:-1])[both]
    bounds = Interval(d, min(1.0, max(d, float(most.max(initial=0.0)))))
    at = float(spans(buckets[place : place + 1]).high[0])
    return Ks(d, ks_interval(d, m, n), m, n, bounds=bounds, at=at)


def wasserstein_from_sketch(
    reference: Ecdf, current: Sketch, before: Sketch | None = None
) -> Wasserstein:
    """Return the winsorised distance in the reference's standard deviations.

    Both windows are taken to lie in the middles of their buckets, so that equal ones have none.

    Parameters
    ----------
    before : Sketch, optional
        The reference by bucket, where it is known already.

    Returns
    -------
    Wasserstein
        `bounds` holds the distance of the rows: each lies at most half a bucket from its middle.

    Raises
    ------
    NotEnoughSamples, NoScale
        As `wasserstein.wasserstein`.
    """
    before = _known(reference, current, before)
    low, high = (reference.quantile(share) for share in CLIP_SHARES)
    now = current.sample()
    found = wasserstein(before.sample().clip(low, high), now.clip(low, high))
    outside = now.counts[(now.support < low) | (now.support > high)]
    clipped = reference.clip(low, high)
    scale = clipped.std()
    if scale <= 0.0:
        raise NoScale("sd", found.value)
    own = np.clip(middles(bucket_numbers(reference.support)), low, high)
    moved = np.abs(own - np.clip(reference.support, low, high))
    blur = float(np.dot(moved, reference.counts)) / reference.n
    blur += _blur(current, low, high)
    return Wasserstein(
        value=found.value / scale,
        interval=Interval(found.interval.low / scale, found.interval.high / scale),
        n_reference=reference.n,
        n_current=current.n,
        unit="sd",
        scale=scale,
        bounds=Interval(max(0.0, found.value - blur) / scale, (found.value + blur) / scale),
        clipped_at=Interval(low, high),
        clipped_share=float(outside.sum()) / now.n,
    )


def _known(reference: Ecdf, current: Sketch, before: Sketch | None) -> Sketch:
    for n, window in ((reference.n, "reference"), (current.n, "current window")):
        if n < 1:
            raise NotEnoughSamples(n, 1, window)
    return Sketch.of(reference.support, reference.counts) if before is None else before


def _on(sketch: Sketch, buckets: CountArray) -> CountArray:
    rows = np.zeros(buckets.size, dtype=np.int64)
    rows[np.searchsorted(buckets, sketch.buckets)] = sketch.counts
    return rows


def _shares(rows: CountArray, n: int) -> FloatArray:
    """Share of rows below each border, with 0 before the first bucket."""
    return np.concatenate(([0.0], np.cumsum(rows) / n))


def _blur(sketch: Sketch, low: float, high: float) -> float:
    """Mean of the most by which rows lie off their middles, both clipped."""
    span = spans(sketch.buckets)
    middle = np.clip(span.middle, low, high)
    up, down = np.clip(span.high, low, high) - middle, middle - np.clip(span.low, low, high)
    return float(np.dot(np.maximum(up, down), sketch.counts)) / sketch.n
