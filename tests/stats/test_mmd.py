import math
import tracemalloc

import numpy as np
import pytest

from stats.arrays import FloatArray
from stats.errors import InvalidInput, NotEnoughSamples
from stats.mmd import mmd, mmd_p_value


def test_equals_the_double_sum() -> None:
    """The mean of the kernel over all pairs, as in the definition."""
    generator = np.random.default_rng(1)
    before, now = generator.normal(size=(9, 2)), generator.normal(0.5, 1.0, size=(7, 2))
    pooled = np.concatenate((before, now))
    width = math.sqrt(np.median([((a - b) ** 2).sum() for a in pooled for b in pooled]))

    def kernel(first: FloatArray, second: FloatArray) -> float:
        pairs = [np.exp(-(((a - b) / width) ** 2).sum() / 2.0) for a in first for b in second]
        return float(np.mean(pairs))

    expected = kernel(before, before) + kernel(now, now) - 2.0 * kernel(before, now)
    assert mmd(before, now).value == pytest.approx(math.sqrt(expected), rel=1e-9)


def test_it_sees_what_no_column_shows() -> None:
    """Equal margins with another correlation are a small chance; equal laws are none."""
    generator = np.random.default_rng(2)
    shared = generator.normal(size=(300, 1))
    before = generator.normal(size=(300, 2))
    now = np.concatenate((shared, 0.8 * shared + 0.6 * generator.normal(size=(300, 1))), axis=1)
    assert mmd_p_value(before, now, np.random.default_rng(3)) < 0.02
    again = generator.normal(size=(300, 2))
    assert mmd_p_value(before, again, np.random.default_rng(3)) > 0.05


def test_the_p_value_keeps_its_level() -> None:
    """Of undrifted windows about a tenth have p <= 0.1; it is never zero."""
    generator = np.random.default_rng(4)
    found = [
        mmd_p_value(
            generator.normal(size=25), generator.normal(size=15), generator, permutations=39
        )
        for _ in range(300)
    ]
    assert 0.05 < np.mean(np.array(found) <= 0.1) < 0.15
    assert mmd_p_value([0.0] * 30, [9.0] * 30, generator, permutations=9) == 0.1


def test_order_and_seed_decide_nothing_else() -> None:
    """The same rows in another order and the same seed have the same chance."""
    generator = np.random.default_rng(5)
    before, now = generator.normal(size=60), generator.normal(0.4, 1.0, size=40)
    first = mmd_p_value(before, now, np.random.default_rng(6))
    second = mmd_p_value(before[::-1], generator.permutation(now), np.random.default_rng(6))
    assert first == second


def test_constants_are_not_apart() -> None:
    """No width, no distance, no evidence."""
    assert mmd([3.0] * 5, [3.0] * 4).value == 0.0
    assert mmd_p_value([3.0] * 5, [3.0] * 4, np.random.default_rng(7)) == 1.0


def test_memory_is_bounded() -> None:
    """Six thousand rows, whose kernel is 288 MB, take a tenth of it."""
    generator = np.random.default_rng(8)
    rows = generator.normal(size=6_000)
    tracemalloc.start()
    mmd(rows[:4_000], rows[4_000:])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6_000 * 6_000 * 8 / 10


def test_unusable_rows_are_left_out() -> None:
    """A row with a missing column is no row; a window without rows no answer."""
    with_hole = mmd([[0.0, 1.0], [1.0, 0.0], [np.nan, 1.0]], [[0.0, 0.0], [1.0, 1.0]])
    assert with_hole.n_reference == 2
    with pytest.raises(NotEnoughSamples, match="current window has 1"):
        mmd([0.0, 1.0], [0.0, np.inf])


def test_windows_of_other_columns_are_refused() -> None:
    """They belong to another feature; so do tables of more dimensions."""
    with pytest.raises(InvalidInput, match="2 columns"):
        mmd([[0.0, 1.0], [1.0, 1.0]], [0.0, 1.0])
    with pytest.raises(InvalidInput, match="shape"):
        mmd(np.zeros((2, 2, 2)), [0.0, 1.0])
    with pytest.raises(InvalidInput, match="permutations"):
        mmd_p_value([0.0, 1.0], [0.0, 1.0], np.random.default_rng(1), permutations=0)
