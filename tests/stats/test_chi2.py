import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from stats.chi2 import chi2_homogeneity, merge_small, new_rate
from stats.errors import InvalidInput, NotEnoughSamples

LARGE = st.lists(st.integers(20, 500), min_size=5, max_size=5)


@settings(max_examples=60, deadline=None)
@given(LARGE, LARGE)
def test_equals_scipy(before: list[int], now: list[int]) -> None:
    """Statistic, degrees and p-value are scipy's without Yates' correction."""
    found = chi2_homogeneity(before, now)
    table, _ = merge_small(np.array([before, now]))
    expected = chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10, abs=1e-12)
    assert found.degrees == expected.dof


def test_two_by_two_by_hand() -> None:
    """[[10, 20], [20, 10]] has X² = 20/3 and V = 1/3, uncorrected."""
    found = chi2_homogeneity([10, 20], [20, 10])
    assert found.statistic == pytest.approx(20 / 3, rel=1e-12)
    assert found.value == pytest.approx(1 / 3, rel=1e-12)


def test_small_cells_are_merged() -> None:
    """Cells that expect fewer than five rows become one, and no row is lost."""
    table, merged = merge_small(np.array([[100, 3, 4, 2, 0], [100, 4, 2, 3, 0]]))
    assert merged == 3
    assert table.tolist() == [[100, 9], [100, 9]]


def test_merging_goes_on_until_five_are_expected() -> None:
    """If the small cells together still expect too few, the next smallest joins them."""
    table, merged = merge_small(np.array([[500, 80, 1], [50, 6, 0]]))
    assert merged == 2
    assert table.tolist() == [[500, 81], [50, 6]]


def test_high_cardinality_is_not_drift() -> None:
    """An undrifted 20-category column of 100 rows is flagged at its nominal 5 %."""
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(20))
    flags = [
        chi2_homogeneity(
            generator.multinomial(1_000, shares), generator.multinomial(100, shares)
        ).p_value
        < 0.05
        for _ in range(600)
    ]
    assert 0.02 < float(np.mean(flags)) < 0.08


def test_one_cell_left_is_no_evidence() -> None:
    """A constant category in both windows has 0 degrees and p = 1."""
    found = chi2_homogeneity([50, 0], [70, 0])
    assert (found.value, found.degrees, found.p_value) == (0.0, 0, 1.0)


def test_interval_covers_the_population() -> None:
    """At least 93 % of the intervals hold the population's V."""
    generator = np.random.default_rng(2)
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    middle = (p + q) / 2
    truth = float(np.sqrt((((p - middle) ** 2 + (q - middle) ** 2) / middle).sum() / 2))
    held = 0
    for _ in range(300):
        found = chi2_homogeneity(generator.multinomial(500, p), generator.multinomial(500, q))
        held += found.interval.low <= truth <= found.interval.high
    assert held >= 279


def test_new_category_is_a_rate_not_an_impossibility() -> None:
    """One new row of 200 is half a percent with an interval, never p = 0."""
    found = new_rate(1, 200, 5_000)
    assert found.value == 0.005
    assert 0.0 < found.interval.low < 0.005 < found.interval.high < 0.03


def test_new_rate_needs_rows_of_both_windows() -> None:
    """Without rows nothing is new; more new rows than rows are an error."""
    for n, m in ((0, 10), (10, 0)):
        with pytest.raises(NotEnoughSamples):
            new_rate(0, n, m)
    with pytest.raises(InvalidInput):
        new_rate(11, 10, 10)
