import math
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import anderson_ksamp, chi2, cramervonmises_2samp, norm
from scipy.stats import energy_distance as scipy_energy_distance

from stats.anderson import anderson_darling
from stats.cvm import cramer_von_mises
from stats.energy import energy_distance
from stats.errors import NotEnoughSamples
from stats.quadratic_law import anderson_sf, cvm_sf
from stats.results import Measurement, SquaredGap

Distance = Callable[[npt.ArrayLike, npt.ArrayLike], Measurement]
Test = Callable[[npt.ArrayLike, npt.ArrayLike], SquaredGap]
SMALL = st.lists(st.floats(-100, 100), min_size=1, max_size=40)


@pytest.mark.parametrize(("m", "n"), [(2, 2), (5, 9), (400, 37), (1_000, 20_000)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.6])
def test_cramer_von_mises_equals_scipy(m: int, n: int, shift: float) -> None:
    """Statistic and asymptotic p-value are scipy's, whose series ends at 1e-7, without ties."""
    generator = np.random.default_rng(m)
    before, now = generator.normal(size=m), generator.normal(shift, 1.0, size=n)
    expected = cramervonmises_2samp(before, now, method="asymptotic")
    found = cramer_von_mises(before, now)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-7)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (5, 9), (400, 37), (1_000, 5_000)])
@pytest.mark.parametrize("digits", [0, 1, 15])
def test_anderson_darling_equals_scipy(m: int, n: int, digits: int) -> None:
    """The statistic is scipy's midrank one to 1e-10, ties included."""
    generator = np.random.default_rng(n)
    before = generator.normal(size=m).round(digits)
    now = generator.normal(0.4, 1.0, size=n).round(digits)
    with warnings.catch_warnings():
        # It says when its table of p-values ends.
        warnings.simplefilter("ignore")
        expected = anderson_ksamp([before, now], variant="midrank")
    found = anderson_darling(before, now)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-10, abs=1e-10)


def test_anderson_darling_of_millions_takes_the_limit_of_its_sums() -> None:
    """Above 100,000 rows the series replaces the sum without a step."""
    generator = np.random.default_rng(7)
    before, now = generator.normal(size=60_000), generator.normal(0.01, 1.0, size=40_000)
    exact, series = anderson_darling(before, now), anderson_darling(np.append(before, 0.0), now)
    assert series.statistic == pytest.approx(exact.statistic, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(SMALL, SMALL)
def test_energy_distance_equals_scipy(before: list[float], now: list[float]) -> None:
    """To 1e-12, ties included."""
    expected = scipy_energy_distance(before, now)
    assert energy_distance(before, now).value == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_squared_areas_by_hand() -> None:
    """Four rows apart: gaps of 1/2, 1, 1/2 at a share of a quarter each."""
    found = cramer_von_mises([0.0, 1.0], [2.0, 3.0])
    assert found.value == pytest.approx((0.25 + 1.0 + 0.25) / 4.0)
    assert energy_distance([0.0, 1.0], [2.0, 3.0]).value == pytest.approx(math.sqrt(3.0))


@pytest.mark.parametrize(
    ("x", "chance"), [(0.34730, 0.1), (0.46136, 0.05), (0.74346, 0.01), (1.16786, 0.001)]
)
def test_the_law_of_cramer_von_mises_is_tabled(x: float, chance: float) -> None:
    """Anderson and Darling's table of 1952, and a digit beyond."""
    assert cvm_sf(x) == pytest.approx(chance, rel=2e-4)


@pytest.mark.parametrize(
    ("x", "chance"), [(1.9330, 0.1), (2.4924, 0.05), (3.8781, 0.01), (5.9694, 0.001)]
)
def test_the_law_of_anderson_darling_is_tabled(x: float, chance: float) -> None:
    """Marsaglia and Marsaglia's points of 2004."""
    assert anderson_sf(x) == pytest.approx(chance, rel=5e-4)


def test_tiny_chances_keep_their_digits() -> None:
    """Far out the heaviest of the chi-squares is all that is left of either law."""
    far = math.sqrt(3.0) * chi2.sf(2.0 * 60.0, 1)
    assert anderson_sf(60.0) == pytest.approx(far, rel=0.02)
    assert 0.0 < cvm_sf(30.0) < 1e-60
    assert (anderson_sf(0.0), cvm_sf(0.0)) == (1.0, 1.0)


@pytest.mark.parametrize("levels", [2, 3, 12])
@pytest.mark.parametrize("law", [cramer_von_mises, anderson_darling], ids=["cvm", "anderson"])
def test_ties_keep_the_level(levels: int, law: Test) -> None:
    """Of undrifted windows with few distinct values about 5 % have p < 0.05."""
    generator = np.random.default_rng(levels)
    drawn = generator.integers(0, levels, size=(1_000, 2, 150)).astype(float)
    low = np.mean([law(before, now).p_value < 0.05 for before, now in drawn])
    assert 0.02 <= low <= 0.07


@pytest.mark.parametrize("shift", [0.0, 0.3])
@pytest.mark.parametrize(
    "distance", [cramer_von_mises, anderson_darling, energy_distance], ids=lambda one: one.__name__
)
def test_intervals_cover_the_population(shift: float, distance: Distance) -> None:
    """At least 95 % hold the distance of N(0, 1) and N(d, 1)."""
    generator = np.random.default_rng(9)
    law = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    truth = distance(law, law + shift).value
    found = [
        distance(generator.normal(size=300), generator.normal(shift, 1.0, size=300)).interval
        for _ in range(100)
    ]
    assert sum(one.low <= truth <= one.high for one in found) >= 95


def test_empty_windows_are_not_enough() -> None:
    """Neither a distance nor a p-value of nothing."""
    for function in (cramer_von_mises, anderson_darling, energy_distance):
        with pytest.raises(NotEnoughSamples):
            function([1.0, 2.0], [np.nan])
    with pytest.raises(NotEnoughSamples):
        anderson_darling([1.0], [2.0, 3.0])
