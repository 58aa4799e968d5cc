"""Rules that other monitors alarm by: a number for every look, and a level."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from drift_streams import LOOKS_AN_HOUR, Prepared, Rows

from stats.adwin import Adwin
from stats.adwin import update as update_adwin
from stats.arrays import CountArray, FloatArray
from stats.cells import NumericCells
from stats.page_hinkley import PageHinkley
from stats.page_hinkley import update as update_page_hinkley

ALLOWANCE = 0.5
"""Of Page-Hinkley, in standard errors of a look's mean: half of the shift to be found."""


class Seen(NamedTuple):
    """What a rule may look at.

    Attributes
    ----------
    counts : ndarray of int64, shape (looks, cells)
        Rows by fine cell, of the windows that the rule asks for.
    reference, looks : ndarray of float64
        Rows of the reference, and by look.
    """

    prepared: Prepared
    counts: CountArray
    reference: Rows
    looks: Rows


class Rule(NamedTuple):
    """A rule: `measure` of every look; it alarms at or above `level`."""

    name: str
    measure: Callable[[Seen], FloatArray]
    level: float
    rolling: bool = False
    numbers_only: bool = False


def measured(rule: Rule, prepared: Prepared, reference: Rows, looks: Rows) -> FloatArray:
    """Return a rule's number for every look; rolling windows grow until they hold an hour."""
    counts = prepared.tally(looks)
    if rule.rolling:
        summed = np.cumsum(counts, axis=0)
        summed[LOOKS_AN_HOUR:] -= summed[:-LOOKS_AN_HOUR].copy()
        counts = summed
    return rule.measure(Seen(prepared, counts, reference, looks))


def episodes(alarms: np.ndarray) -> int:
    """How often a rule begins to alarm."""
    return int(np.sum(alarms[1:] & ~alarms[:-1]) + alarms[0])


def _lumped(seen: Seen, parts: int = 10) -> tuple[FloatArray, FloatArray]:
    """Lump reference and looks into ten quantile bins, guards and gaps; categories as they are."""
    cells, counts = seen.prepared.cells, seen.prepared.counts
    if not isinstance(cells, NumericCells):
        return counts.astype(float), seen.counts.astype(float)
    inner = counts[1 : cells.ordered - 1]
    part = np.floor((np.cumsum(inner) - inner) * parts / max(inner.sum(), 1))
    starts = 1 + np.flatnonzero(np.diff(part, prepend=-1.0))
    cuts = np.concatenate(([0], starts, np.arange(cells.ordered - 1, cells.size)))
    return np.add.reduceat(counts * 1.0, cuts), np.add.reduceat(seen.counts * 1.0, cuts, axis=1)


def _psi(seen: Seen) -> FloatArray:
    before, now = _lumped(seen)
    p = (before + 0.5) / (before + 0.5).sum()
    q = (now + 0.5) / (now + 0.5).sum(axis=1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _js(seen: Seen) -> FloatArray:
    before, now = _lumped(seen)
    p = (before + 1e-9) / before.sum()
    q = (now + 1e-9) / now.sum(axis=1, keepdims=True)
    middle = (p + q) / 2.0
    found = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=1) / 2.0
    return np.asarray(np.sqrt(np.maximum(found, 0.0)))


def _over_chunks(seen: Seen) -> FloatArray:
    """JS distance in standard deviations of the reference's own chunks above their mean."""
    n = seen.looks.shape[1]
    chunks = seen.reference[: seen.reference.size // n * n].reshape(-1, n)
    own = _js(seen._replace(counts=seen.prepared.tally(chunks)))
    return np.asarray((_js(seen) - own.mean()) / own.std())


def _chi2_score(seen: Seen) -> FloatArray:
    """Chi-square against the reference as the truth, as a normal score (Wilson and Hilferty)."""
    before, now = _lumped(seen)
    kept = before > 0.0
    expected = before[kept] / before[kept].sum() * now.sum(axis=1, keepdims=True)
    found = ((now[:, kept] - expected) ** 2 / expected).sum(axis=1)
    degrees = max(int(kept.sum()) - 1, 1)
    part = 2.0 / (9.0 * degrees)
    return np.asarray((np.cbrt(found / degrees) - 1.0 + part) / math.sqrt(part))


def _line(seen: Seen) -> tuple[FloatArray, FloatArray]:
    cells = seen.prepared.cells
    assert isinstance(cells, NumericCells)
    before = np.cumsum(seen.prepared.counts[: cells.ordered])
    now = np.cumsum(seen.counts[:, : cells.ordered], axis=1)
    return before.astype(np.float64), now.astype(np.float64)


def _ks_score(seen: Seen) -> FloatArray:
    before, now = _line(seen)
    m, n = before[-1], np.maximum(now[:, -1:], 1.0)
    gap = np.abs(now / n - before / m).max(axis=1)
    return np.asarray(gap * np.sqrt(m * n[:, 0] / (m + n[:, 0])))


def _wasserstein_sd(seen: Seen) -> FloatArray:
    cells = seen.prepared.cells
    assert isinstance(cells, NumericCells)
    before, now = _line(seen)
    n = np.maximum(now[:, -1:], 1.0)
    gaps = np.abs(now / n - before / before[-1])[:, 1:-1]
    return np.asarray(gaps @ np.diff(cells.edges) / cells.std)


def _largest_rate(seen: Seen) -> FloatArray:
    """Largest z of two proportions over all cells: what a careful person would set up."""
    before, now = _lumped(seen)
    m, n = before.sum(), now.sum(axis=1, keepdims=True)
    pooled = (before + now + 0.5) / (m + n + 1.0)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / m + 1.0 / n))
    return np.asarray((np.abs(now / n - before / m) / error).max(axis=1))


def _look_scores(seen: Seen) -> tuple[FloatArray, FloatArray]:
    mean, deviation = np.nanmean(seen.reference), np.nanstd(seen.reference)
    n = seen.looks.shape[1]
    chunks = seen.reference[: seen.reference.size // n * n].reshape(-1, n)
    scale = deviation / math.sqrt(n)
    before, now = np.nanmean(chunks, axis=1), np.nanmean(seen.looks, axis=1)
    return np.asarray((before - mean) / scale), np.asarray((now - mean) / scale)


def _page_hinkley(seen: Seen) -> FloatArray:
    before, now = _look_scores(seen)
    state, found = PageHinkley(ALLOWANCE, 1e18), []
    for score in (*before.tolist(), *now.tolist()):
        state = update_page_hinkley(state, score)
        found.append(max(state.up, state.down))
    return np.array(found[before.size :])


def _adwin(seen: Seen) -> FloatArray:
    before, now = _look_scores(seen)
    state, found = Adwin(), []
    for score in (*before.tolist(), *now.tolist()):
        state = update_adwin(state, score)
        found.append(float(state.drifted))
    return np.array(found[before.size :])


def _ks_level(p: float) -> float:
    return math.sqrt(-math.log(p / 2.0) / 2.0)


RULES = (
    Rule("PSI > 0.1, look", _psi, 0.1),
    Rule("PSI > 0.2, look", _psi, 0.2),
    Rule("PSI > 0.1, hour", _psi, 0.1, rolling=True),
    Rule("PSI > 0.2, hour", _psi, 0.2, rolling=True),
    Rule("KS p < .05, look", _ks_score, _ks_level(0.05), numbers_only=True),
    Rule("KS p < .05/8640, hour", _ks_score, _ks_level(0.05 / 8640), True, True),
    Rule("chi2 fit p < .05, look (Evidently, whylogs)", _chi2_score, 1.6449),
    Rule("chi2 fit p < .05/8640, hour", _chi2_score, 4.38, rolling=True),
    Rule("W1/sd > 0.1, hour", _wasserstein_sd, 0.1, True, True),
    Rule("JS, 3 sigma over chunks (NannyML)", _over_chunks, 3.0),
    Rule("largest rate z > 5, hour", _largest_rate, 5.0, rolling=True),
    Rule("Page-Hinkley of means, 12", _page_hinkley, 12.0, numbers_only=True),
    Rule("ADWIN of means, 0.002", _adwin, 0.5, numbers_only=True),
    Rule("never", lambda seen: np.zeros(seen.counts.shape[0]), 1.0),
    Rule("always", lambda seen: np.ones(seen.counts.shape[0]), 1.0),
)
