import numpy as np
import pytest

from stats.few_blocks import dispersion_in_time
from stats.spread import dispersion

SIZE = 4
LOOK = 300


def rows_of(
    rng: np.random.Generator, looks: int, rows: int, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and times of rows that share a part of their look's value."""
    shared = np.sqrt(correlation) * rng.normal(size=(looks, 1))
    values = shared + np.sqrt(1.0 - correlation) * rng.normal(size=(looks, rows))
    at = np.arange(looks * rows) * LOOK // rows
    return np.searchsorted([-0.7, 0.0, 0.7], values.ravel()), at


def found(cell: np.ndarray, at: np.ndarray) -> float:
    """Return the dispersion over looks of rows in any order."""
    order = np.random.default_rng(1).permutation(at.size)
    return dispersion_in_time(cell[order], at[order], LOOK, size=SIZE, ordered=SIZE)


@pytest.mark.parametrize(("looks", "rows"), [(12, 83), (6, 60), (19, 20)])
def test_few_looks_show_their_dependence(looks: int, rows: int) -> None:
    """Blocks of which there are too few say nothing themselves; about what they are is found."""
    seeds = range(20)
    drawn = [rows_of(np.random.default_rng(seed), looks, rows, 0.7) for seed in seeds]
    assert {dispersion(c, at // LOOK, size=SIZE, ordered=SIZE) for c, at in drawn} == {1.0}
    dispersions = [found(*one) for one in drawn]
    # Cut into four cells, normal rows with .7 correlate by .64.
    true = 1.0 + 0.64 * (rows - 1)
    assert 0.6 * true < np.median(dispersions) < 2.0 * true
    assert min(dispersions) > 0.05 * true


def test_independent_rows_of_few_looks_are_left_alone() -> None:
    """Chance is no dependence: what it would cost is power."""
    dispersions = [found(*rows_of(np.random.default_rng(seed), 9, 60, 0.0)) for seed in range(100)]
    assert sum(one > 1.0 for one in dispersions) <= 2


def test_many_looks_are_their_own_blocks() -> None:
    """Nothing is cut where blocks are enough, or where they hold a row each."""
    cell, at = rows_of(np.random.default_rng(3), 40, 10, 0.5)
    whole = dispersion(cell, at // LOOK, size=SIZE, ordered=SIZE)
    assert whole > 1.0
    assert found(cell, at) == pytest.approx(whole)
    assert found(cell[:9], np.arange(9) * LOOK) == 1.0
    assert found(cell[:0], at[:0]) == 1.0


def test_rows_of_one_moment_have_no_order() -> None:
    """A file that knows days alone, sorted by a value within each, shows no dependence."""
    cell = np.tile(np.repeat(np.arange(SIZE), 25), 10)
    assert dispersion_in_time(cell, np.arange(1_000) // 100 * LOOK, LOOK, size=4, ordered=4) == 1.0


def fading(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Return cells of an autoregression of order one, .5: the dispersion is 3, however long."""
    values = rng.normal(size=rows)
    for row in range(1, rows):
        values[row] = 0.5 * values[row - 1] + np.sqrt(0.75) * values[row]
    return np.searchsorted([-0.7, 0.0, 0.7], values)


@pytest.mark.parametrize("looks", [1, 2, 12])
def test_what_fades_is_not_carried_up(looks: int) -> None:
    """One burst of dependent rows makes no deaf detector: carried up linearly it would be 130."""
    rows = 1_000 // looks * looks
    at = np.arange(rows) * LOOK * looks // rows
    drawn = [found(fading(np.random.default_rng(seed), rows), at) for seed in range(11)]
    assert 2.0 < np.median(drawn) < 12.0


def test_one_look_that_wanders_is_carried_up() -> None:
    """Dependence that has not faded within what is there may go on."""
    walk = np.cumsum(np.random.default_rng(2).normal(size=1_000))
    cell = np.searchsorted(np.quantile(walk, [0.25, 0.5, 0.75]), walk)
    assert found(cell, np.arange(1_000) * LOOK // 1_000) > 100.0
