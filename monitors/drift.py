"""How far a window's feature lies from its reference: measurements, no verdicts.

PSI is taken over the baseline's cells, guards, `invalid` and `missing` included, so that it sees
every kind of change; Kolmogorov-Smirnov and Wasserstein-1 look at the reference's kept order
statistics (`baselines.SAMPLE_ROWS`) and the window's rows, or buckets of them: then with bounds.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from monitors.baselines import Reference
from monitors.cell_words import JOINED
from monitors.observed import Observed, Window, observe, rows_of
from monitors.signals.table import Kind
from stats.arrays import CountArray
from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.chi2 import chi2_homogeneity, new_rate
from stats.confidence import noncentrality, wilson
from stats.divergence import js_value, likelihood_ratio
from stats.ks_p import ks_p_value
from stats.missing import rate_change
from stats.psi import ROWS_PER_CELL, psi, psi_p_value, psi_threshold
from stats.results import Chi2, Interval, Ks, Measurement, Psi, RateChange, Wasserstein

_Measured = TypeVar("_Measured", RateChange, Wasserstein)

TOP_CONTRIBUTIONS = 5


@dataclass(frozen=True, slots=True)
class Contribution:
    """One cell's part in a PSI: `share` of the sum, its shares of the rows before and now."""

    cell: str
    share: float
    reference: float
    current: float


@dataclass(frozen=True, slots=True)
class ShareMove:
    """The cell whose share of the rows moved most.

    Of the named categories, `other` included; of what lies outside a number's reference, and what
    is infinite.
    """

    cell: str
    change: RateChange


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything measured between a reference and a window.

    Attributes
    ----------
    n_reference, n_current : int
        Rows of both windows, missing ones included.
    psi : Psi
        Over at most one cell for every ten current rows, so that laws without drift hold.
    likelihood : float
        Likelihood ratio of homogeneity, G (1/m + 1/n): in PSI's unit, and close to it for small
        differences. It is what evidence is read from, since far out in the tail it keeps to the
        chi-square law, where PSI exceeds it up to nine times too often (10 rows a cell, 1e-5).
    likelihood_p : float
        Chance of more without drift.
    threshold : float
        What `likelihood` exceeds with chance `alpha_cells` without drift.
    ks, ks_p, wasserstein_sd : Ks, float and Wasserstein, or None
        Numbers only, if both windows have `min_samples` finite rows, and of windows known by cell
        `wasserstein_sd` alone, with bounds of what the rows may give; it is None
        as well if the reference has no spread. It is winsorised at the reference's 0.1 % and
        99.9 %: one wild row is an outlier, not drift.
    chi2, new : Chi2 and Measurement, or None
        Categories only: without new ones; the rate of new ones.
    share : ShareMove or None
        What is told apart by its share alone.
    medians : tuple of float, or None
        Of the reference and the window, numbers only.
    psi_doubt : float
        What `psi` may miss where it is not over the baseline's own cells.
    dispersion : float
        Rows that depend on each other say less: variances are so many times those of independent
        ones. Intervals, p-values and `threshold` are those of as many rows fewer.
    """

    feature: str
    kind: Kind
    n_reference: int
    n_current: int
    alpha: float
    psi: Psi
    likelihood: float
    likelihood_p: float
    threshold: float
    js_distance: float
    missing: RateChange
    contributions: tuple[Contribution, ...]
    ks: Ks | None = None
    ks_p: float | None = None
    wasserstein_sd: Wasserstein | None = None
    chi2: Chi2 | None = None
    new: Measurement | None = None
    share: ShareMove | None = None
    new_examples: tuple[str, ...] = ()
    medians: tuple[float, float] | None = None
    psi_doubt: float = 0.0
    dispersion: float = 1.0

    @property
    def alpha_cells(self) -> float:
        """Part of `alpha` that the test over cells spends: numbers spend the other half on KS."""
        return self.alpha if self.ks_p is None else self.alpha / 2.0


@dataclass(frozen=True, slots=True)
class TooFew:
    """A comparison that was not made: rows found where `needed` are."""

    feature: str
    kind: Kind
    n_reference: int
    n_current: int
    needed: int


@dataclass(frozen=True, slots=True)
class _Cells:
    """Counts over cells thrown together until the PSI's law holds, and their names."""

    reference: CountArray
    current: CountArray
    labels: tuple[str, ...] = field(repr=False)


def compare(
    reference: Reference, window: Window, *, alpha: float, min_samples: int
) -> Comparison | TooFew:
    """Compare one feature of a window with its reference.

    Parameters
    ----------
    window : array_like of shape (n,), NumericCounts or CategoricalCounts
        The window's values, or what was counted of them; missing ones included.
    alpha : float
        Chance of a false alarm that this look at this feature may spend, in (0, 1).
    min_samples : int
        Least rows of either window.
    """
    n = rows_of(window)
    if min(n, reference.rows) < min_samples:
        return TooFew(reference.feature, reference.kind, reference.rows, n, min_samples)
    seen = observe(reference, window, min_samples)
    if isinstance(seen.cells, NumericCells):
        found = _compare_numeric(reference, seen.cells, seen, alpha)
    else:
        found = _compare_categorical(reference, seen.cells, seen, alpha)
    return _dispersed(found, reference.dispersion) if reference.dispersion > 1.0 else found


def _dispersed(found: Comparison, by: float) -> Comparison:
    """Return what the same measurements mean where rows depend on each other."""
    psi_unit = by * (1.0 / found.psi.n_reference + 1.0 / found.psi.n_current)
    reach = noncentrality(found.psi.value / psi_unit, found.psi.cells - 1)
    interval = Interval(reach.low * psi_unit, reach.high * psi_unit)
    distance, new, share = found.ks, found.new, found.share
    p_value = found.ks_p
    if distance is not None:
        m, n = (max(1, round(rows / by)) for rows in (distance.n_reference, distance.n_current))
        p_value = ks_p_value(distance.value, m, n)
    if new is not None:
        n = max(1, round(new.n_current / by))
        new = replace(new, interval=wilson(min(n, round(new.value * n)), n))
    moved = found.wasserstein_sd
    return replace(
        found,
        psi=replace(found.psi, interval=interval),
        likelihood_p=_chance(found.likelihood / by, found.psi),
        threshold=found.threshold * by,
        missing=_wider(found.missing, by),
        ks_p=p_value,
        wasserstein_sd=None if moved is None else _wider(moved, by),
        new=new,
        share=None if share is None else replace(share, change=_wider(share.change, by)),
        dispersion=by,
    )


def _wider(found: _Measured, by: float) -> _Measured:
    """Return a measurement with an interval wider by the root of the dispersion."""
    factor, value = math.sqrt(by), found.value
    low = value - factor * (value - found.interval.low)
    least = 0.0 if isinstance(found, Wasserstein) else -1.0
    high = value + factor * (found.interval.high - value)
    return replace(found, interval=Interval(max(least, low), high))


def _compare_numeric(
    reference: Reference, cells: NumericCells, seen: Observed, alpha: float
) -> Comparison:
    small = _coarse_numeric(cells, seen.before, seen.now)
    line = seen.line
    p_value = (
        None if line is None else ks_p_value(line.ks.value, line.ks.n_reference, line.ks.n_current)
    )
    effect = psi(small.reference, small.current)
    ratio = likelihood_ratio(small.reference, small.current)
    spent = alpha if p_value is None else alpha / 2.0
    return Comparison(
        feature=reference.feature,
        kind="numeric",
        n_reference=reference.rows,
        n_current=seen.rows,
        alpha=alpha,
        psi=effect,
        likelihood=ratio,
        likelihood_p=_chance(ratio, effect),
        threshold=_threshold(effect, spent),
        js_distance=js_value(small.reference, small.current),
        missing=_missing(seen.before, seen.now),
        contributions=_contributions(effect, small),
        ks=None if line is None else line.ks,
        ks_p=p_value,
        wasserstein_sd=seen.moved if line is None else line.wasserstein_sd,
        share=_share(cells, seen.before, seen.now),
        medians=None if line is None else line.medians,
        psi_doubt=seen.psi_doubt,
    )


def _compare_categorical(
    reference: Reference, cells: CategoryCells, seen: Observed, alpha: float
) -> Comparison:
    current = seen.now
    small = _coarse_categorical(cells, seen.before, current)
    effect = psi(small.reference, small.current)
    ratio = likelihood_ratio(small.reference, small.current)
    known = np.arange(cells.size) != cells.new
    has_known = bool(current[known].any())
    return Comparison(
        feature=reference.feature,
        kind="categorical",
        n_reference=reference.rows,
        n_current=seen.rows,
        alpha=alpha,
        psi=effect,
        likelihood=ratio,
        likelihood_p=_chance(ratio, effect),
        threshold=_threshold(effect, alpha),
        js_distance=js_value(small.reference, small.current),
        missing=_missing(seen.before, current),
        contributions=_contributions(effect, small),
        chi2=chi2_homogeneity(seen.before[known], current[known]) if has_known else None,
        new=new_rate(int(current[cells.new]), seen.rows, reference.rows),
        share=_share(cells, seen.before, current),
        new_examples=seen.new_examples,
    )


def _share(cells: NumericCells | CategoryCells, before: CountArray, now: CountArray) -> ShareMove:
    if isinstance(cells, NumericCells):
        watched = [0, cells.ordered - 1, cells.ordered]
    else:
        watched = list(range(len(cells.top) + 1))
    m, n = int(before.sum()), int(now.sum())
    moved = np.abs(now[watched] / n - before[watched] / m)
    most = watched[int(np.argmax(moved))]
    return ShareMove(cells.labels()[most], rate_change(int(before[most]), m, int(now[most]), n))


def _chance(ratio: float, effect: Psi) -> float:
    return psi_p_value(ratio, effect.cells, effect.n_reference, effect.n_current)


def _threshold(effect: Psi, alpha: float) -> float:
    # A single cell holds everything in both windows: no threshold can be exceeded.
    if effect.cells < 2:
        return float("inf")
    return psi_threshold(alpha, effect.cells, effect.n_reference, effect.n_current)


def _missing(reference: CountArray, current: CountArray) -> RateChange:
    return rate_change(
        int(reference[-1]), int(reference.sum()), int(current[-1]), int(current.sum())
    )


def _coarse_numeric(cells: NumericCells, reference: CountArray, current: CountArray) -> _Cells:
    tail = list(range(cells.ordered, cells.size))
    line = reference[: cells.ordered]
    groups = _room(reference, current, tail)
    if int(((line + current[: cells.ordered]) > 0).sum()) <= groups:
        return _Cells(reference, current, cells.labels())
    # Cells are joined by the reference's mass alone; looking at the window would bias the test.
    middle = (np.cumsum(line) - line / 2.0) / max(1, int(line.sum()))
    place = np.minimum((middle * groups).astype(np.int64), groups - 1)
    return _join(np.concatenate((place, groups + np.arange(len(tail)))), reference, current, cells)


def _coarse_categorical(cells: CategoryCells, reference: CountArray, current: CountArray) -> _Cells:
    tail = [cells.new, cells.missing]
    groups = _room(reference, current, tail)
    named = len(cells.top) + 1
    if int(((reference + current)[:named] > 0).sum()) <= groups:
        return _Cells(reference, current, cells.labels())
    place = np.minimum(np.arange(named), groups - 1)
    return _join(np.concatenate((place, groups + np.arange(2))), reference, current, cells)


def _room(reference: CountArray, current: CountArray, tail: list[int]) -> int:
    """Cells that the line or the named categories may fill beside the tail's."""
    filled = sum(1 for cell in tail if reference[cell] + current[cell] > 0)
    rows = min(int(reference.sum()), int(current.sum()))
    return max(2, rows // ROWS_PER_CELL - filled)


def _join(
    place: CountArray,
    reference: CountArray,
    current: CountArray,
    cells: NumericCells | CategoryCells,
) -> _Cells:
    size = int(place[-1]) + 1
    names = cells.labels()
    labels: list[list[str]] = [[] for _ in range(size)]
    for cell, group in enumerate(place.tolist()):
        labels[group].append(names[cell])
    return _Cells(
        np.bincount(place, weights=reference, minlength=size).astype(np.int64),
        np.bincount(place, weights=current, minlength=size).astype(np.int64),
        tuple(_joined(group) for group in labels),
    )


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}{JOINED}{names[-1]}" if names else ""


def _contributions(effect: Psi, cells: _Cells) -> tuple[Contribution, ...]:
    shares = np.asarray(effect.contributions)
    order = np.argsort(-shares, kind="stable")[:TOP_CONTRIBUTIONS]
    before, now = cells.reference / cells.reference.sum(), cells.current / cells.current.sum()
    return tuple(
        Contribution(cells.labels[i], float(shares[i]), float(before[i]), float(now[i]))
        for i in order.tolist()
        if shares[i] > 0.0
    )
