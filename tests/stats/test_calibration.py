"""Calibration: bins, isotonic fits and expected accuracy against definitions."""

import numpy as np
import pytest

from stats.calibration import (
    Graded,
    calibration_error,
    expected_accuracy,
    isotonic,
    reliability,
)
from stats.errors import InvalidInput, NotEnoughSamples


def graded(n: list[int], confidence: list[float], correct: list[int]) -> Graded:
    """Return groups of labelled rows."""
    return Graded(
        np.array(n, dtype=np.float64),
        np.array(confidence, dtype=np.float64),
        np.array(correct, dtype=np.float64),
    )


def test_pooled_blocks_rise_and_keep_the_hits() -> None:
    """Groups that fall are pooled; the fit rises, and its mean is the share of all hits."""
    rng = np.random.default_rng(3)
    n = rng.integers(1, 30, 200)
    found = graded(list(n), list(np.linspace(0, 1, 200)), list(rng.binomial(n, 0.5)))
    steps = isotonic(found)
    assert np.all(np.diff(steps.values) > 0)
    assert float(steps.rows @ steps.values) == pytest.approx(float(found.correct.sum()), rel=1e-12)


def test_a_fit_is_the_nearest_rising_function() -> None:
    """By hand: 0.2, then 0.8 and 0.4 pooled by their rows, then 0.9."""
    steps = isotonic(graded([50, 30, 10, 10], [0.1, 0.4, 0.5, 0.9], [10, 24, 4, 9]))
    assert steps.starts.tolist() == [0.1, 0.4, 0.9]
    assert steps.values.tolist() == pytest.approx([0.2, 0.7, 0.9])


def test_bins_have_equal_mass() -> None:
    """A thousand groups of one row are ten bins of a hundred; a few groups are fewer bins."""
    many = graded([1] * 1_000, list(np.linspace(0, 1, 1_000)), [1] * 1_000)
    assert [one.n for one in reliability(many)] == [100] * 10
    assert [one.n for one in reliability(graded([5, 5], [0.2, 0.9], [1, 5]))] == [5, 5]


def test_the_error_of_calibration_is_a_weighted_distance() -> None:
    """Of 30 rows a third is 0.1 off, two thirds 0.2."""
    bins = reliability(graded([10, 20], [0.4, 0.8], [5, 12]))
    assert calibration_error(bins) == pytest.approx((10 * 0.1 + 20 * 0.2) / 30, rel=1e-12)


def test_the_interval_of_an_estimate_holds_the_truth() -> None:
    """Confidence that is no chance: 95 % intervals hold the accuracy in at least 90 % of draws."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        parts = []
        for rows in (2_000, 800):
            step = rng.integers(50, 100, rows)
            right = rng.random(rows) < (step / 100) ** 3
            n = np.bincount(step, minlength=100).astype(np.float64)
            hits = np.bincount(step, weights=right, minlength=100)
            kept = n > 0
            parts.append(Graded(n[kept], np.flatnonzero(kept) / 100, hits[kept].astype(np.float64)))
        past, now = parts
        found = expected_accuracy(isotonic(past), now.n, now.confidence)
        truth = float(now.correct.sum() / now.rows)
        held += found.interval.low <= truth <= found.interval.high
    assert held >= 180


def test_few_labels_fit_nothing() -> None:
    """Below a hundred labels no calibration is fitted; groups out of order are refused."""
    with pytest.raises(NotEnoughSamples):
        isotonic(graded([99], [0.5], [50]))
    with pytest.raises(InvalidInput):
        graded([1, 1], [0.9, 0.1], [1, 1])
