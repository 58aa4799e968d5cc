"""What the field gets wrong, each as a test named after its trap.

Traps that belong to one statistic alone stand with it: the law of PSI without drift and its
population values in `test_psi`, the mean of Wasserstein without drift in `test_wasserstein`,
merged percentiles in `test_buckets`, a rate of missing rows in `test_missing`.
"""

import numpy as np
import pytest
from scipy.stats import chisquare

from stats.anderson import anderson_darling
from stats.arrays import CountArray, FloatArray
from stats.buckets import RELATIVE_ERROR, Sketch
from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.chi2 import chi2_homogeneity, new_rate
from stats.confidence import wilson
from stats.cvm import cramer_von_mises
from stats.energy import energy_distance
from stats.errors import NotEnoughSamples
from stats.ks import ks
from stats.ks_p import ks_p_value
from stats.methods import METHODS, Method
from stats.mmd import mmd
from stats.psi import psi
from stats.wasserstein import wasserstein

Counts = FloatArray | CountArray
ON_ROWS = [method for method in METHODS if method.takes == "rows"]
each_on_rows = pytest.mark.parametrize("method", ON_ROWS, ids=lambda method: method.name)


def _bare_psi(reference: Counts, current: Counts, epsilon: float) -> float:
    p = np.maximum(reference / reference.sum(), epsilon)
    q = np.maximum(current / current.sum(), epsilon)
    return float(((q - p) * np.log(q / p)).sum())


def test_trap_epsilon_decides_psi() -> None:
    """A vanished cell of 1 % costs .05 or .36 by epsilon; half a row costs what rows can tell."""
    before, now = np.array([10_000.0, 990_000.0]), np.array([0.0, 1_000_000.0])
    usual, smallest = _bare_psi(before, now, 1e-4), _bare_psi(before, now, 2.2e-308)
    assert usual < 0.06
    assert smallest > 7.0
    one = psi([100, 9_900], [0, 10_000]).value
    ten = psi([1_000, 99_000], [0, 100_000]).value
    assert usual < one < ten < 0.13


def test_trap_reference_as_exact_truth() -> None:
    """Goodness of fit flags a third of undrifted columns at 5 %; homogeneity keeps to 5 %."""
    generator = np.random.default_rng(1)
    shares = np.full(20, 0.05)
    wrong = kept = 0
    for _ in range(300):
        before, now = generator.multinomial(300, shares), generator.multinomial(300, shares)
        wrong += chisquare(now, np.maximum(before, 1) * 300 / np.maximum(before, 1).sum())[1] < 0.05
        kept += chi2_homogeneity(before, now).p_value < 0.05
    assert wrong > 90
    assert kept < 27


def test_trap_value_on_an_edge() -> None:
    """`x == edge` goes up, in one window as in the other, so that a tie is never a move."""
    cells = NumericCells.from_reference(np.repeat([1.0, 2.0, 3.0, 4.0], 25), bins=4)
    counts = cells.count([1.0, 2.0, 3.0, 4.0])
    assert counts.max() == 1
    assert counts.sum() == 4


@pytest.mark.parametrize("zeros", [100, 95, 60])
def test_trap_zero_inflated_reference_hides_a_move(zeros: int) -> None:
    """Quantile bins of mostly zeros, or of zeros alone, still see them all become ones."""
    reference = np.concatenate((np.zeros(zeros * 10), np.linspace(5.0, 9.0, 1_000 - zeros * 10)))
    cells = NumericCells.from_reference(reference)
    now = np.where(reference == 0.0, 1.0, reference)
    assert psi(cells.count(reference), cells.count(now)).value > 1.0


def test_trap_values_beyond_the_reference() -> None:
    """Guards on both sides hold what lies outside; it never joins the outermost bins."""
    cells = NumericCells.from_reference(np.arange(100.0))
    counts = cells.count([-1.0, 1e9, 1e12])
    assert (counts[0], counts[cells.ordered - 1]) == (1, 2)


def test_trap_missing_rows_vanish() -> None:
    """From 10 % to 40 % missing KS of the rest is nothing, PSI with its missing bin a lot."""
    rows = np.linspace(0.0, 1.0, 1_000)
    before, now = rows.copy(), rows.copy()
    before[::10], now[::5], now[1::5] = np.nan, np.nan, np.nan
    cells = NumericCells.from_reference(before)
    assert ks(before, now).value < 0.01
    assert psi(cells.count(before), cells.count(now)).value > 0.4


def test_trap_new_category_is_certain() -> None:
    """One new row of 1,000 is a rate of a thousandth with an interval, never p = 0."""
    cells = CategoryCells.from_reference({"a": 500, "b": 500})
    now = cells.count({"a": 500, "b": 499, "c": 1})
    rate = new_rate(int(now[cells.new]), 1_000, 1_000)
    assert rate.value == 0.001
    assert 0.0 < rate.interval.low < rate.interval.high < 0.01


def test_trap_every_p_value_is_small_on_many_rows() -> None:
    """At a million rows D = 0.0024 has p < 0.01; the effect and its interval say how little."""
    assert ks_p_value(0.0024, 10**6, 10**6) < 0.01
    assert wilson(500_000, 10**6).high - 0.5 < 0.001


def test_trap_one_outlier_moves_the_mean_distance() -> None:
    """One row of 2,000 moved to 1e6 is hundreds; clipped and in sd it is nothing."""
    before = np.random.default_rng(2).normal(size=2_000)
    now = np.append(before[1:], 1e6)
    assert wasserstein(before, now).value == pytest.approx(500.0, rel=0.01)
    assert wasserstein(before, now, unit="sd", winsorise=True).value < 0.01
    assert ks(before, now).value <= 1.01 / 2_000


def test_trap_equal_constants_are_significant() -> None:
    """Midranks in Anderson's formula give p = 2e-9 for two equal constants; the area gives 1."""
    before, now = [3.0] * 100, [3.0] * 80
    for found in (cramer_von_mises(before, now), anderson_darling(before, now)):
        assert (found.value, found.p_value) == (0.0, 1.0)


@each_on_rows
def test_trap_values_near_a_billion(method: Method) -> None:
    """An offset of 1e9 changes no distance beyond what doubles lose when they are read."""
    generator = np.random.default_rng(3)
    before = generator.integers(0, 4_096, size=300) / 1_024.0
    now = before[:200] + 0.25
    near, far = method.function(before, now), method.function(before + 1e9, now + 1e9)
    assert far.value == pytest.approx(near.value, rel=1e-6)


@each_on_rows
@pytest.mark.parametrize("rows", [[], [np.nan, np.nan], [np.inf, -np.inf]])
def test_trap_an_empty_window_is_no_drift(method: Method, rows: list[float]) -> None:
    """Empty, all-missing and all-infinite windows are an answer of their own, on either side."""
    for windows in ((rows, [1.0, 2.0, 3.0, 4.0]), ([1.0, 2.0, 3.0, 4.0], rows)):
        with pytest.raises(NotEnoughSamples):
            method.function(*windows)


def test_trap_average_of_percentiles() -> None:
    """The p99 of two workers is not the mean of theirs; their sketches add up to it."""
    quiet, busy = np.full(9_000, 10.0), np.linspace(100.0, 1_000.0, 1_000)
    truth = float(np.quantile(np.concatenate((quiet, busy)), 0.99, method="inverted_cdf"))
    averaged = (np.quantile(quiet, 0.99) + np.quantile(busy, 0.99)) / 2.0
    merged = Sketch.merged((Sketch.of(quiet), Sketch.of(busy))).quantile(0.99).value
    assert abs(averaged / truth - 1.0) > 0.4
    assert merged == pytest.approx(truth, rel=2.0 * RELATIVE_ERROR)


@pytest.mark.parametrize(("n", "bare"), [(50, 0.87), (100, 0.41), (200, 0.03)])
def test_trap_material_levels_are_no_evidence(n: int, bare: float) -> None:
    """Ten bins, 5,000 rows before, no drift: P(PSI > 0.1) as everyone computes it, and ours."""
    generator = np.random.default_rng(4)
    before = generator.multinomial(5_000, np.full(10, 0.1), size=400)
    now = generator.multinomial(n, np.full(10, 0.1), size=400)
    pairs = list(zip(before, now, strict=True))
    assert np.mean([_bare_psi(p, q, 1e-4) > 0.1 for p, q in pairs]) == pytest.approx(bare, abs=0.06)
    # Half a row a cell takes some off: the level remains no evidence.
    assert np.mean([psi(p, q).value > 0.1 for p, q in pairs]) > 0.3 * bare


def test_trap_distances_of_little_data_look_large() -> None:
    """Thirty undrifted rows are far away by every distance, and every interval holds zero."""
    generator = np.random.default_rng(5)
    before, now = generator.normal(size=2_000), generator.normal(size=30)
    for found in (ks(before, now), wasserstein(before, now), energy_distance(before, now)):
        assert found.value > 0.05
        assert found.interval.low == 0.0
    assert mmd(before[:300], now).interval.low == 0.0
