import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from stats.cells import NumericCells
from stats.errors import InvalidInput, NotEnoughSamples
from stats.psi import calibrated_threshold, psi, psi_p_value, psi_threshold, simulated_threshold

QUANTILES = (np.arange(200_000) + 0.5) / 200_000
NORMAL = norm.ppf(QUANTILES)


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.1, 0.0096), (0.25, 0.0598), (0.5, 0.238), (1.0, 0.926)]
)
def test_population_value_of_a_normal_shift(shift: float, expected: float) -> None:
    """Ten quantile bins of N(0, 1) against N(d, 1) have the known population value."""
    cells = NumericCells.from_reference(NORMAL)
    bare = cells.edges[1:-1]
    shares = np.diff(norm.cdf([-np.inf, *bare, np.inf], loc=shift))
    now = np.round(shares * 10**9).astype(np.int64)
    assert psi(np.full(10, 10**8), now).value == pytest.approx(expected, rel=0.006)


def test_hand_computed_value() -> None:
    """Two cells with 0.5 added: shares 0.5 and 600.5 / 1001."""
    q = 600.5 / 1001
    expected = (q - 0.5) * math.log(q / 0.5) + (0.5 - q) * math.log((1 - q) / 0.5)
    found = psi([500, 500], [600, 400])
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert sum(found.contributions) == pytest.approx(1.0)


def test_vanished_cell_does_not_explode() -> None:
    """An empty cell costs what half a row costs, not what an epsilon happens to."""
    found = psi([50, 50, 900], [0, 50, 950])
    assert 0.2 < found.value < 0.4
    assert found.contributions[0] > 0.9


def test_cells_empty_in_both_windows_take_no_part() -> None:
    """Guards that nobody ever entered change neither the value nor the degrees of freedom."""
    bare, guarded = psi([500, 500], [6, 4]), psi([0, 500, 500, 0, 0], [0, 6, 4, 0, 0])
    assert guarded.value == bare.value
    assert guarded.cells == 2
    assert guarded.contributions[0] == 0.0


def test_law_without_drift_is_the_chi_square() -> None:
    """The threshold at 5 % is exceeded by 5 % of undrifted windows."""
    generator = np.random.default_rng(11)
    m, n = 5_000, 1_000
    before = generator.multinomial(m, np.full(10, 0.1), size=1_500)
    now = generator.multinomial(n, np.full(10, 0.1), size=1_500)
    values = np.array([psi(p, q).value for p, q in zip(before, now, strict=True)])
    assert 0.03 < float(np.mean(values > psi_threshold(0.05, 10, m, n))) < 0.07


def test_threshold_equals_scipy() -> None:
    """The closed form is the chi-square's upper quantile times (1/m + 1/n)."""
    expected = chi2.isf(0.001, 11) * (1 / 5000 + 1 / 200)
    assert psi_threshold(0.001, 12, 5000, 200) == pytest.approx(expected, rel=1e-12)
    assert psi_p_value(expected, 12, 5000, 200) == pytest.approx(0.001, rel=1e-9)


def test_simulated_threshold_agrees_with_the_law_on_large_windows() -> None:
    """With many rows a cell simulation and chi-square are the same."""
    found = simulated_threshold(
        0.05, np.full(10, 0.1), (5_000, 2_000), np.random.default_rng(13), draws=8_000
    )
    assert found == pytest.approx(psi_threshold(0.05, 10, 5_000, 2_000), rel=0.05)


def test_simulated_threshold_holds_its_level_on_tiny_windows() -> None:
    """At three rows a cell the simulated threshold still has its 5 %."""
    shares = np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    level = simulated_threshold(0.05, shares, (300, 20), np.random.default_rng(14))
    generator = np.random.default_rng(15)
    pairs = [
        (generator.multinomial(300, shares), generator.multinomial(20, shares))
        for _ in range(2_000)
    ]
    alarms = np.mean([psi(before, now).value > level for before, now in pairs])
    assert 0.03 < float(alarms) < 0.07


def test_simulation_is_repeatable() -> None:
    """The same seed gives the same threshold."""
    draws = [
        simulated_threshold(0.1, np.ones(4), (50, 20), np.random.default_rng(3), draws=500)
        for _ in range(2)
    ]
    assert draws[0] == draws[1]


def test_threshold_takes_the_law_that_holds() -> None:
    """Chi-square from ten rows a cell up, simulation below; empty cells are none."""
    reference = np.append(np.full(10, 500), 0)
    assert calibrated_threshold(0.05, reference, 100) == psi_threshold(0.05, 10, 5_000, 100)
    expected = simulated_threshold(0.05, np.ones(10), (5_000, 99), np.random.default_rng(0))
    assert calibrated_threshold(0.05, reference, 99) == expected


def test_a_chance_too_small_to_simulate_is_refused() -> None:
    """Twenty thousand draws know nothing of one in a million."""
    with pytest.raises(InvalidInput, match="likelihood_ratio"):
        calibrated_threshold(1e-6, [50] * 10, 20)


@pytest.mark.parametrize(("shift", "n"), [(0.0, 200), (0.25, 500), (1.0, 100)])
def test_interval_covers_the_population(shift: float, n: int) -> None:
    """At least 93 % of the intervals hold the population's PSI."""
    generator = np.random.default_rng(16)
    inner = norm.ppf(np.arange(1, 10) / 10)
    p, q = np.full(10, 0.1), np.diff(norm.cdf([-np.inf, *inner, np.inf], loc=shift))
    truth = float(((q - p) * np.log(q / p)).sum())
    held = 0
    for _ in range(400):
        found = psi(generator.multinomial(2_000, p), generator.multinomial(n, q)).interval
        held += found.low <= truth <= found.high
    assert held >= 372


def test_single_cell_has_no_evidence() -> None:
    """Two windows within one cell are equal, with p = 1."""
    found = psi([10, 0], [90, 0])
    assert (found.value, found.p_value) == (0.0, 1.0)


def test_empty_window_is_not_enough_samples() -> None:
    """No rows is never no drift."""
    with pytest.raises(NotEnoughSamples, match="current window"):
        psi([1, 2], [0, 0])


@pytest.mark.parametrize(
    ("before", "now"),
    [([1, 2], [1, 2, 3]), ([-1, 2], [1, 1]), ([0.5, 1], [1, 1]), ([[1]], [[1]])],
)
def test_wrong_counts_are_refused(before: list[int], now: list[int]) -> None:
    """Other cells, negative counts, fractions and tables are errors."""
    with pytest.raises(InvalidInput):
        psi(before, now)


@pytest.mark.parametrize(("alpha", "cells"), [(0.0, 10), (1.0, 10), (0.05, 1)])
def test_impossible_thresholds_are_refused(alpha: float, cells: int) -> None:
    """A threshold needs a chance between 0 and 1 and two cells."""
    with pytest.raises(InvalidInput):
        psi_threshold(alpha, cells, 100, 100)


def test_threshold_of_an_empty_window_is_not_enough_samples() -> None:
    """A threshold needs rows."""
    with pytest.raises(NotEnoughSamples):
        psi_threshold(0.05, 10, 100, 0)
