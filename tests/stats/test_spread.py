import numpy as np
import pytest

from stats.cells import NumericCells
from stats.spread import dispersion


def _of(values: np.ndarray, block: np.ndarray, within: np.ndarray | None = None) -> float:
    cells = NumericCells.from_reference(values, bins=32)
    place = np.searchsorted(np.asarray(cells.edges), values, side="right")
    return dispersion(place, block, size=cells.size, ordered=cells.ordered, within=within)


def test_independent_rows_have_one() -> None:
    """Chance alone is no dependence, so that nobody waits longer for it."""
    generator = np.random.default_rng(1)
    found = [_of(generator.normal(size=5_000), np.arange(5_000) // 100) for _ in range(40)]
    assert np.mean(np.array(found) == 1.0) > 0.9


def test_users_rows_repeat_each_other() -> None:
    """Ten rows a user at a correlation of 0.7 vary as 1 + 9 x 0.7 = 7.3 times as few would."""
    generator = np.random.default_rng(2)
    users = np.repeat(generator.normal(size=5_000), 10)
    values = np.sqrt(0.7) * users + np.sqrt(0.3) * generator.normal(size=50_000)
    assert _of(values, np.arange(50_000) // 10) == pytest.approx(7.3, rel=0.1)
    assert _of(values, np.arange(50_000) // 100) == pytest.approx(7.3, rel=0.2)


def test_autocorrelation_shows_in_blocks() -> None:
    """AR(1) with 0.5 triples the variance of long sums."""
    noise = np.random.default_rng(3).normal(size=50_000)
    values = np.empty(50_000)
    values[0] = noise[0]
    for i in range(1, values.size):
        values[i] = 0.5 * values[i - 1] + noise[i]
    assert _of(values, np.arange(50_000) // 100) == pytest.approx(3.0, rel=0.2)


def test_a_cycle_is_no_dependence_within_its_hours() -> None:
    """What an hour's own mean explains is taken off."""
    generator = np.random.default_rng(4)
    hour = np.arange(40_000) // 100 % 24
    values = np.sin(hour / 24 * 2 * np.pi) + generator.normal(size=40_000)
    block = np.arange(40_000) // 100
    assert _of(values, block) > 10.0
    assert _of(values, block, hour) == 1.0


def test_clustered_categories() -> None:
    """A category that comes in runs of five is worth a fifth of its rows."""
    cell = np.repeat(np.random.default_rng(5).integers(0, 3, 4_000), 5)
    found = dispersion(cell, np.arange(20_000) // 50, size=6, ordered=0)
    assert found == pytest.approx(5.0, rel=0.25)


def test_few_blocks_say_nothing() -> None:
    """Without twenty blocks there is no estimate."""
    assert _of(np.repeat(np.arange(10.0), 50), np.repeat(np.arange(10), 50)) == 1.0
    empty = np.zeros(0, dtype=np.int64)
    assert dispersion(empty, empty, size=5, ordered=3) == 1.0
