import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from stats.cells import NumericCells
from stats.errors import InvalidInput, NoScale, NotEnoughSamples
from stats.results import Unit
from stats.wasserstein import wasserstein

SMALL = st.lists(st.floats(-100, 100), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(SMALL, SMALL)
def test_equals_scipy(before: list[float], now: list[float]) -> None:
    """The raw distance is scipy's to 1e-12."""
    expected = wasserstein_distance(before, now)
    assert wasserstein(before, now).value == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_mean_without_drift() -> None:
    """Undrifted normal windows are 1.25 sqrt(1/m + 1/n) apart on average."""
    generator = np.random.default_rng(1)
    values = [
        wasserstein(generator.normal(size=400), generator.normal(size=100)).value
        for _ in range(400)
    ]
    assert np.mean(values) == pytest.approx(1.25 * np.sqrt(1 / 400 + 1 / 100), rel=0.06)


def test_sd_units_by_hand() -> None:
    """A shift of 3 on a reference whose standard deviation is 2 is 1.5 sd."""
    found = wasserstein([1.0, 5.0], [4.0, 8.0], unit="sd")
    assert (found.value, found.scale, found.unit) == (1.5, 2.0, "sd")


def test_one_outlier_dominates_unless_clipped() -> None:
    """One row at 1e6 among 2,000 moves the raw distance by hundreds; clipping says so instead."""
    generator = np.random.default_rng(2)
    before = generator.normal(size=2_000)
    now = np.concatenate((generator.normal(size=1_999), [1e6]))
    clipped = wasserstein(before, now, unit="sd", winsorise=True)
    assert wasserstein(before, now).value > 400.0
    assert clipped.value < 0.1
    assert clipped.clipped_share >= 1 / 2_000
    assert clipped.clipped_at is not None


def test_quartile_unit_ignores_an_outlier_of_the_reference() -> None:
    """An outlier in the reference blows up its sd, not its quartile distance."""
    before = np.append(np.random.default_rng(3).normal(size=999), 1e6)
    assert wasserstein(before, before + 1.0, unit="sd").value < 1e-4
    assert wasserstein(before, before + 1.0, unit="iqr").value == pytest.approx(0.74, abs=0.05)


@pytest.mark.parametrize("unit", ["sd", "iqr"])
def test_constant_reference_has_an_answer_of_its_own(unit: Unit) -> None:
    """Without spread there is no unit; the error carries the raw distance."""
    with pytest.raises(NoScale) as caught:
        wasserstein([2.0] * 9, [5.0] * 4, unit=unit)
    assert (caught.value.unit, caught.value.distance) == (unit, 3.0)


def test_unknown_unit_is_refused() -> None:
    """A unit that does not exist names those that do."""
    with pytest.raises(InvalidInput, match="raw, sd, iqr"):
        wasserstein([1.0], [1.0], unit="furlong")  # type: ignore[arg-type]


def test_values_near_a_billion_lose_nothing() -> None:
    """An offset of 1e9 leaves the distance and the unit alone."""
    generator = np.random.default_rng(4)
    before, now = generator.normal(size=500).round(4), generator.normal(0.2, 1, 300).round(4)
    near, far = wasserstein(before, now, unit="sd"), wasserstein(before + 1e9, now + 1e9, unit="sd")
    assert far.value == pytest.approx(near.value, rel=1e-5)


def test_absurd_values_stay_finite() -> None:
    """A client's 1e200 gives a huge distance with a finite interval, and finite units."""
    found = wasserstein([1.0, 2.0, 3.0], [1.0, 2.0, 1e200])
    assert np.isfinite([found.value, found.interval.low, found.interval.high]).all()
    assert np.isfinite(NumericCells.from_reference([*range(20), 1e200]).std)


def test_empty_window_is_not_enough_samples() -> None:
    """No rows have no distance."""
    with pytest.raises(NotEnoughSamples):
        wasserstein([], [1.0])


@pytest.mark.parametrize(("shift", "least"), [(0.0, 0.95), (0.1, 0.92), (0.5, 0.93)])
def test_interval_covers_the_population(shift: float, least: float) -> None:
    """The interval holds the true distance of N(0, 1) and N(d, 1), which is d."""
    generator = np.random.default_rng(5)
    found = [
        wasserstein(generator.normal(size=1_000), generator.normal(shift, 1, 300)).interval
        for _ in range(300)
    ]
    assert np.mean([one.low <= shift <= one.high for one in found]) >= least
