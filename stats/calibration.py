"""Confidence against what came true: calibration, its error, and accuracy before labels come.

Rows come grouped by confidence, in rising order, as counts and sums: millions of rows are a
thousand groups.
"""

import math
from dataclasses import dataclass

import numpy as np

from stats.arrays import FloatArray
from stats.confidence import Z, wilson
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Estimate, Interval

LEAST_LABELS = 100
"""Labelled rows below which no calibration is fitted."""
BINS = 10


@dataclass(frozen=True, slots=True)
class Graded:
    """Labelled rows grouped by confidence, arrays of shape (groups,).

    Attributes
    ----------
    n : ndarray of float64
        Rows of a group, > 0.
    confidence : ndarray of float64
        Mean confidence of a group, 0..1, rising.
    correct : ndarray of float64
        Rows that came true.
    """

    n: FloatArray
    confidence: FloatArray
    correct: FloatArray

    def __post_init__(self) -> None:
        shapes = {self.n.shape, self.confidence.shape, self.correct.shape}
        if len(shapes) != 1 or bool(np.any(np.diff(self.confidence) < 0.0)):
            raise InvalidInput("groups must be as many of each, in order of confidence.")

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.n.sum())


@dataclass(frozen=True, slots=True)
class Bin:
    """Neighbouring rows: mean confidence beside the share that came true, and its interval."""

    n: int
    confidence: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Steps:
    """A rising step function of confidence: blocks of `isotonic`.

    Attributes
    ----------
    starts : ndarray of float64, shape (blocks,)
        Lowest mean confidence of a block's groups.
    rows, values : ndarray of float64, shape (blocks,)
        Labelled rows of a block, and the share of them that came true.
    """

    starts: FloatArray
    rows: FloatArray
    values: FloatArray


def reliability(graded: Graded, bins: int = BINS) -> tuple[Bin, ...]:
    """Return bins of equal mass, as far as groups can be parted; fewer where rows are few."""
    if not graded.rows:
        raise NotEnoughSamples(0, 1)
    middles = np.cumsum(graded.n) - graded.n / 2.0
    places = np.minimum((middles / graded.rows * bins).astype(np.int64), bins - 1)
    found = []
    for place in np.unique(places):
        chosen = places == place
        n = int(graded.n[chosen].sum())
        hits = round(float(graded.correct[chosen].sum()))
        confidence = float(np.dot(graded.n[chosen], graded.confidence[chosen]) / n)
        found.append(Bin(n, confidence, hits / n, wilson(hits, n)))
    return tuple(found)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the expected calibration error: mean distance of confidence from accuracy, 0..1.

    With few rows it is above zero by luck alone: about sqrt(p (1 - p) / rows of a bin).

    References
    ----------
    M. P. Naeini, G. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using
    Bayesian binning, AAAI (2015) 2901-2907.
    """
    rows = sum(found.n for found in bins)
    return sum(found.n * abs(found.confidence - found.accuracy) for found in bins) / rows


def isotonic(graded: Graded) -> Steps:
    """Fit the rising function nearest to the labels: pool adjacent violators.

    Raises
    ------
    NotEnoughSamples
        Below `LEAST_LABELS` rows.

    References
    ----------
    M. Ayer, H. D. Brunk, G. M. Ewing, W. T. Reid and E. Silverman, An empirical distribution
    function for sampling with incomplete information, Annals of Mathematical Statistics 26 (1955)
    641-647.
    """
    if graded.rows < LEAST_LABELS:
        raise NotEnoughSamples(graded.rows, LEAST_LABELS)
    blocks: list[list[float]] = []
    for n, start, hits in zip(graded.n, graded.confidence, graded.correct, strict=True):
        blocks.append([float(start), float(n), float(hits)])
        while len(blocks) > 1 and _share(blocks[-2]) >= _share(blocks[-1]):
            _, rows, more = blocks.pop()
            blocks[-1][1] += rows
            blocks[-1][2] += more
    starts, rows_, hits_ = (np.array(column) for column in zip(*blocks, strict=True))
    return Steps(starts, rows_, hits_ / rows_)


def _share(block: list[float]) -> float:
    return block[2] / block[1]


def expected_accuracy(steps: Steps, n: FloatArray, confidence: FloatArray) -> Estimate:
    """Estimate the accuracy of rows without labels: the mean of their calibrated confidence.

    It holds as long as confidence means what it meant when it was calibrated: a change of what is
    true of the same inputs (concept drift) is not seen.

    Parameters
    ----------
    steps : Steps
        Of labelled rows of another time.
    n, confidence : ndarray of float64, shape (groups,)
        Rows to estimate, grouped by confidence.

    Returns
    -------
    Estimate
        In [0, 1]. Its 95 % interval has the luck of these rows and that of the calibration.

    References
    ----------
    J. Bialek, W. Kuberski, N. Perrakis and A. Bifet, Estimating model performance under
    covariate shift without labels, arXiv:2401.08348 (2024): confidence-based estimation.
    """
    rows = float(n.sum())
    if rows < 1.0:
        raise NotEnoughSamples(0, 1)
    places = np.maximum(np.searchsorted(steps.starts, confidence, side="right") - 1, 0)
    mass = np.bincount(places, weights=n, minlength=steps.starts.size) / rows
    value = float(np.dot(mass, steps.values))
    # One hit and one miss more, so that a block without either is not taken for certain.
    shrunk = (steps.values * steps.rows + 1.0) / (steps.rows + 2.0)
    spread = shrunk * (1.0 - shrunk)
    variance = float(np.dot(mass * mass, spread / steps.rows) + np.dot(mass, spread) / rows)
    half = Z * math.sqrt(variance)
    return Estimate(value, Interval(max(0.0, value - half), min(1.0, value + half)), int(rows))
