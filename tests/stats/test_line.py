import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from stats.ecdf import Ecdf
from stats.ks import ks, ks_of
from stats.line import BLOCK, measure
from stats.wasserstein import wasserstein, wasserstein_of


def test_blocks_change_nothing() -> None:
    """Samples of several blocks with ties across their borders have scipy's distances."""
    generator = np.random.default_rng(1)
    before = generator.integers(0, 4 * BLOCK, size=5 * BLOCK).astype(float)
    now = generator.integers(BLOCK // 2, 5 * BLOCK, size=2 * BLOCK).astype(float)
    line = measure(Ecdf.of(before), Ecdf.of(now))
    expected = ks_2samp(before, now, method="asymp")
    assert line.gap == pytest.approx(expected.statistic, abs=1e-12)
    assert line.at == expected.statistic_location
    assert line.area == pytest.approx(wasserstein_distance(before, now), rel=1e-12)


def test_samples_beside_each_other_meet() -> None:
    """What lies between two samples that do not overlap counts, with blocks of one alone."""
    before, now = np.arange(2.0 * BLOCK), np.arange(2.0 * BLOCK) + 10.0 * BLOCK
    line = measure(Ecdf.of(before), Ecdf.of(now))
    assert (line.gap, line.at) == (1.0, 2.0 * BLOCK - 1.0)
    assert line.area == pytest.approx(10.0 * BLOCK)


def test_one_pass_serves_both_distances() -> None:
    """What was measured once gives the same answers as either function by itself."""
    generator = np.random.default_rng(2)
    before, now = Ecdf.of(generator.normal(size=300)), Ecdf.of(generator.normal(0.2, 1.0, 200))
    line = measure(before, now)
    assert ks_of(line, before.n, now.n) == ks(before, now)
    assert wasserstein_of(line, before, now.n, "sd") == wasserstein(before, now, unit="sd")


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 99.0), (2.0, 5.0), (3.5, 3.6), (4.0, 4.0), (-5.0, -2.0), (9.0, 20.0)]
)
def test_clipping_moves_rows_to_the_ends(low: float, high: float) -> None:
    """As numpy clips the rows, wherever the ends lie."""
    rows = np.repeat(np.arange(9.0), [1, 2, 3, 1, 4, 1, 1, 2, 5])
    clipped, expected = Ecdf.of(rows).clip(low, high), Ecdf.of(np.clip(rows, low, high))
    np.testing.assert_array_equal(clipped.support, expected.support)
    np.testing.assert_array_equal(clipped.cumulative, expected.cumulative)


def test_both_zeros_are_one_value() -> None:
    """Minus zero and zero, on either side of the sort, are a tie."""
    assert Ecdf.of([0.0, -0.0, 1.0]).support.tolist() == [0.0, 1.0]
    assert ks([0.0] * 5, [-0.0] * 4).value == 0.0
