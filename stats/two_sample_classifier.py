"""Classifier two-sample test: whether a model can tell a window from the reference, and by what."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stats.arrays import FloatArray
from stats.categories import CategoryCells
from stats.confidence import Z
from stats.ecdf import Ecdf
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Interval, Measurement

LEAST_ROWS = 20
"""Of each window, since a model is fitted to half of them."""
TOP = 20
"""Categories of a column with an indicator of their own."""
REACH = 4.0
"""Standard deviations of the reference at which numbers are cut off, so that none is a lever."""
RIDGE = 1e-2
"""Penalty, in rows, on standardised weights."""
_STEPS = 25
_ENOUGH = 1e-8

Column = Sequence[object] | FloatArray
"""Rows of a feature: an array of floats is a number, all else a category; None, NaN: missing."""


@dataclass(frozen=True, slots=True)
class Classifier(Measurement):
    """How well unseen rows of two windows are told apart.

    Attributes
    ----------
    value : float
        Area under the ROC curve, in [0, 1]; 0.5 where nothing tells them apart.
    p_value : float
        Chance of an area as large without drift.
    features : tuple of (str, float)
        Area that a feature's part of the model has on its own, largest first.
    """

    p_value: float
    features: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """A table of standardised columns, and the feature that each belongs to."""

    rows: FloatArray
    owner: FloatArray
    names: tuple[str, ...]


def classify(
    reference: Mapping[str, Column],
    current: Mapping[str, Column],
    generator: "np.random.Generator",  # importing numpy.random takes 20 ms
) -> Classifier:
    """Fit a logistic regression to half of the rows, score the other half, and the reverse.

    Parameters
    ----------
    reference, current : mapping of str to column of length m and n
        Equal names. Numbers enter with their square and whether they are missing, so that spread
        counts as well as location; categories as indicators of the `TOP` ones, other, new and
        missing. Infinities count as missing.
    generator : numpy.random.Generator
        Deals rows into halves; the same seed and rows give the same answer.

    Returns
    -------
    Classifier
        The p-value is twice the smaller of the halves' one-sided Mann-Whitney chances (normal
        law with ties): each half's rows are exchangeable for the model of the other half. The
        interval is that of the mean area, by DeLong's variance.

    Raises
    ------
    NotEnoughSamples
        If a window has fewer than `LEAST_ROWS` rows.
    InvalidInput
        If names or lengths of columns differ.

    References
    ----------
    D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, ICLR 2017. E. DeLong,
    D. DeLong and D. Clarke-Pearson, Comparing the areas under two or more correlated ROC curves,
    Biometrics 44 (1988) 837-845.

    Examples
    --------
    >>> rows = np.random.default_rng(1).normal(size=400)
    >>> now = {"a": rows[200:], "b": ["x"] * 150 + ["y"] * 50}
    >>> found = classify({"a": rows[:200], "b": ["x"] * 200}, now, np.random.default_rng(2))
    >>> found.features[0][0], found.p_value < 0.01
    ('b', True)
    """
    m, n = _rows_of(reference, "reference"), _rows_of(current, "current window")
    if set(reference) != set(current):
        raise InvalidInput(f"other columns now: {sorted(set(reference) ^ set(current))}.")
    design = _design(reference, current)
    labels = np.concatenate((np.zeros(m), np.ones(n)))
    # Both windows are halved apart, so that either half has rows of each.
    half = np.concatenate((generator.permutation(m) % 2, generator.permutation(n) % 2))
    parts = np.empty((len(labels), len(design.names)))
    for fold in (0, 1):
        weights = _fit(design.rows[half != fold], labels[half != fold])
        scored = design.rows[half == fold] * weights[1:]
        member = design.owner[:, None] == np.arange(len(design.names))
        parts[half == fold] = scored @ member
    areas = [_area(parts[half == fold].sum(axis=1), labels[half == fold]) for fold in (0, 1)]
    value = (areas[0].value + areas[1].value) / 2.0
    reach = Z * math.hypot(areas[0].error, areas[1].error) / 2.0
    alone = [
        (name, sum(_area(parts[half == f, k], labels[half == f]).value for f in (0, 1)) / 2.0)
        for k, name in enumerate(design.names)
    ]
    return Classifier(
        value=value,
        interval=Interval(max(0.0, value - reach), min(1.0, value + reach)),
        n_reference=m,
        n_current=n,
        p_value=min(1.0, 2.0 * min(area.p_value for area in areas)),
        features=tuple(sorted(alone, key=lambda one: (-one[1], one[0]))),
    )


def _rows_of(window: Mapping[str, Column], name: str) -> int:
    sizes = {len(column) for column in window.values()}
    if len(sizes) != 1:
        raise InvalidInput(
            f"columns of the {name} have {sorted(sizes)} rows; give as many in each."
        )
    rows = sizes.pop()
    if rows < LEAST_ROWS:
        raise NotEnoughSamples(rows, LEAST_ROWS, name)
    return rows


def _design(reference: Mapping[str, Column], current: Mapping[str, Column]) -> _Design:
    blocks = [_encode(reference[name], current[name]) for name in reference]
    whole = np.concatenate(blocks, axis=1)
    spread = whole.std(axis=0)
    varied = spread > 0.0
    owner = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
    rows = (whole[:, varied] - whole[:, varied].mean(axis=0)) / spread[varied]
    return _Design(rows, owner[varied].astype(np.float64), tuple(reference))


def _encode(reference: Column, current: Column) -> FloatArray:
    if isinstance(reference, np.ndarray) and isinstance(current, np.ndarray):
        return _encode_numbers(reference.astype(np.float64), current.astype(np.float64))
    # A reference without a single category is one whose rows are all missing.
    cells = CategoryCells.from_reference([*reference, "missing"], top=TOP)
    rows = [(type(value), value) for value in (*reference, *current)]
    place = {row: int(cells.count([row[1]]).argmax()) for row in set(rows)}
    return np.eye(cells.size)[[place[row] for row in rows]]


def _encode_numbers(reference: FloatArray, current: FloatArray) -> FloatArray:
    values = np.concatenate((reference, current))
    known = np.isfinite(values)
    usable = reference[np.isfinite(reference)]
    sample = Ecdf.of(usable if usable.size else values[known])
    middle, spread = (sample.quantile(0.5), sample.std()) if sample.n else (0.0, 0.0)
    scaled = np.where(known, values - middle, 0.0) / (spread or 1.0)
    scaled = np.clip(scaled, -REACH, REACH)
    return np.stack((scaled, scaled**2, ~known), axis=1)


def _fit(rows: FloatArray, labels: FloatArray) -> FloatArray:
    """Newton's method on the penalised likelihood; the first weight is the constant's."""
    table = np.concatenate((np.ones((len(rows), 1)), rows), axis=1)
    penalty = np.full(table.shape[1], RIDGE)
    weights = np.zeros(table.shape[1])
    loss = _loss(table, labels, weights, penalty)
    for _ in range(_STEPS):
        chance = _chance(table @ weights)
        slope = table.T @ (labels - chance) - penalty * weights
        curve = (table * (chance * (1.0 - chance))[:, None]).T @ table + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found = _loss(table, labels, weights + step, penalty)
        while found > loss and float(np.abs(step).max()) > _ENOUGH:
            step = step / 2.0
            found = _loss(table, labels, weights + step, penalty)
        weights, loss = weights + step, found
        if float(np.abs(step).max()) <= _ENOUGH:
            break
    return np.asarray(weights, dtype=np.float64)


def _chance(score: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(score / 2.0)), dtype=np.float64)


def _loss(table: FloatArray, labels: FloatArray, weights: FloatArray, penalty: FloatArray) -> float:
    score = table @ weights
    fit = np.logaddexp(0.0, score) - labels * score
    return float(fit.sum() + (penalty * weights**2).sum() / 2.0)


@dataclass(frozen=True, slots=True)
class _Area:
    value: float
    error: float
    p_value: float


def _area(scores: FloatArray, labels: FloatArray) -> _Area:
    before, now = Ecdf.of(scores[labels == 0.0]), Ecdf.of(scores[labels == 1.0])
    # Rows of the other window below each row, and half of those beside it.
    below_now = (before.at(now.support) + _less(before, now.support)) / 2.0
    below_before = (now.at(before.support) + _less(now, before.support)) / 2.0
    value = float(below_now @ now.counts) / now.n
    spread = float(((below_now - value) ** 2) @ now.counts) / now.n / now.n
    spread += float(((below_before - (1.0 - value)) ** 2) @ before.counts) / before.n / before.n
    pooled = before.merge(now)
    total = float(pooled.n)
    ties = float((pooled.counts.astype(np.float64) ** 3 - pooled.counts).sum())
    variance = (total + 1.0 - ties / (total * (total - 1.0))) / (12.0 * before.n * now.n)
    if variance <= 0.0:
        return _Area(value, math.sqrt(spread), 1.0)
    z = (value - 0.5) / math.sqrt(variance)
    return _Area(value, math.sqrt(spread), math.erfc(z / math.sqrt(2.0)) / 2.0)


def _less(sample: Ecdf, points: FloatArray) -> FloatArray:
    rows = sample.cumulative[np.searchsorted(sample.support, points, side="left")]
    return np.asarray(rows / sample.n, dtype=np.float64)
