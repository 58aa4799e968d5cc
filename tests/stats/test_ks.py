import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from stats.ecdf import Ecdf
from stats.errors import InvalidInput, NotEnoughSamples
from stats.ks import ks
from stats.ks_p import ks_p_value

SMALL = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=40)


@settings(max_examples=80, deadline=None)
@given(SMALL, SMALL)
def test_equals_scipy_with_ties(before: list[float], now: list[float]) -> None:
    """D, its p-value and its place are scipy's to 1e-12, ties included."""
    expected = ks_2samp(before, now, method="asymp")
    found = ks(before, now)
    assert found.value == pytest.approx(expected.statistic, abs=1e-12)
    p = ks_p_value(found.value, found.n_reference, found.n_current)
    assert p == pytest.approx(expected.pvalue, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(5_000, 100), (37, 4_001), (20_000, 20_000)])
def test_equals_scipy_on_real_windows(m: int, n: int) -> None:
    """The same at the sizes of real windows."""
    generator = np.random.default_rng(m)
    before, now = generator.normal(size=m), generator.normal(0.05, 1.1, size=n)
    expected = ks_2samp(before, now, method="asymp")
    found = ks(before, now)
    assert found.value == pytest.approx(expected.statistic, abs=1e-12)
    assert ks_p_value(found.value, m, n) == pytest.approx(expected.pvalue, rel=1e-12)


def test_smallest_case_by_hand() -> None:
    """[0] against [1] are as far apart as can be, yet prove nothing."""
    assert ks([0.0], [1.0]).value == 1.0
    assert ks([0.0], [1.0]).interval.low == 0.0
    assert ks_p_value(1.0, 1, 1) == 1.0


def test_huge_windows_make_anything_significant() -> None:
    """At a million rows a distance of 0.0023 has p < 0.01: a p-value alone never alerts."""
    assert ks_p_value(0.0024, 10**6, 10**6) < 0.01


def test_missing_and_invalid_rows_are_left_out() -> None:
    """NaN and infinities neither count as rows nor move D."""
    found = ks([1.0, 2.0, np.nan, np.inf], [1.0, 2.0, -np.inf])
    assert (found.value, found.n_reference, found.n_current) == (0.0, 2, 2)


def test_a_prepared_reference_gives_the_same_answer() -> None:
    """A reference may be sorted once and compared often."""
    generator = np.random.default_rng(1)
    before, now = generator.normal(size=300), generator.normal(0.3, 1.0, size=80)
    assert ks(Ecdf.of(before), now) == ks(before, now)


def test_all_missing_is_not_enough_samples() -> None:
    """A window without a finite row is an answer of its own."""
    with pytest.raises(NotEnoughSamples, match="current window has 0"):
        ks([1.0], [np.nan])


def test_interval_covers_the_population() -> None:
    """The distribution-free interval holds the true distance of N(0, 1) and N(0.5, 1)."""
    generator = np.random.default_rng(3)
    truth = 0.19741265
    found = [
        ks(generator.normal(size=400), generator.normal(0.5, 1.0, size=150)).interval
        for _ in range(100)
    ]
    assert sum(one.low <= truth <= one.high for one in found) >= 95


@pytest.mark.parametrize("d", [-0.1, 1.1])
def test_p_value_refuses_what_is_no_distance(d: float) -> None:
    """D lies in 0..1."""
    with pytest.raises(InvalidInput):
        ks_p_value(d, 10, 10)


def test_p_value_needs_rows() -> None:
    """A p-value of an empty window does not exist."""
    with pytest.raises(NotEnoughSamples):
        ks_p_value(0.1, 10, 0)
