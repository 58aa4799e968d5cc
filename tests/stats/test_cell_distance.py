import numpy as np
import pytest

from stats.cell_distance import wasserstein_from_cells
from stats.cells import NumericCells
from stats.ecdf import Ecdf
from stats.errors import NotEnoughSamples
from stats.wasserstein import wasserstein


@pytest.fixture
def rng() -> np.random.Generator:
    """Return seeded draws."""
    return np.random.default_rng(8)


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.3, 1.0])
def test_the_rows_distance_lies_between_the_bounds(moved: float, rng: np.random.Generator) -> None:
    """A skewed number that moves: the estimate is off by less than it says, and by little."""
    rows, now = rng.lognormal(0.0, 0.6, 5_000), rng.lognormal(0.0, 0.6, 2_000) + moved
    sample = Ecdf.of(rows)
    cells = NumericCells.from_reference(sample)
    found = wasserstein_from_cells(cells, sample, cells.count(rows), cells.count(now))
    exact = wasserstein(rows, now, unit="sd", winsorise=True)
    assert found.scale == pytest.approx(exact.scale)
    assert found.bounds.low <= exact.value <= found.bounds.high
    assert found.value == pytest.approx(exact.value, rel=0.2, abs=0.03)


def test_shares_that_change_alone_are_exact(rng: np.random.Generator) -> None:
    """Fewer small values and more large ones, each cell as before."""
    rows = rng.normal(size=4_000)
    now = rows[(rows > 0.0) | (np.arange(rows.size) % 2 == 0)]
    sample = Ecdf.of(rows)
    cells = NumericCells.from_reference(sample)
    found = wasserstein_from_cells(cells, sample, cells.count(rows), cells.count(now))
    assert found.value == pytest.approx(
        wasserstein(rows, now, unit="sd", winsorise=True).value, abs=0.005
    )
    same = wasserstein_from_cells(cells, sample, cells.count(rows), 3 * cells.count(rows))
    assert same.value < 1e-3


def test_values_outside_and_single_ones_have_their_place() -> None:
    """A value with a cell to itself is known; what lies beyond the reference is clipped."""
    rows = np.repeat([1.0, 2.0, 3.0], 100)
    sample = Ecdf.of(rows)
    cells = NumericCells.from_reference(sample)
    now = np.repeat([1.0, 3.0, 50.0], 100)
    found = wasserstein_from_cells(cells, sample, cells.count(rows), cells.count(now))
    assert found.value * found.scale == pytest.approx(1.0 / 3.0)
    assert found.bounds.high == pytest.approx(found.bounds.low)
    assert found.clipped_share == pytest.approx(1.0 / 3.0)


def test_values_at_the_end_of_the_floats_are_measured() -> None:
    """The middle of a cell between two of them is one."""
    rows = np.repeat([0.0, 1e308, 1.6e308], 100)
    sample = Ecdf.of(rows)
    cells = NumericCells.from_reference(sample)
    found = wasserstein_from_cells(cells, sample, cells.count(rows), cells.count([1.3e308] * 9))
    exact = wasserstein(rows, [1.3e308] * 9, unit="sd")
    assert found.bounds.low <= exact.value <= found.bounds.high


def test_windows_without_numbers_are_refused() -> None:
    """Missing rows are no numbers."""
    sample = Ecdf.of(np.arange(20.0))
    cells = NumericCells.from_reference(sample)
    with pytest.raises(NotEnoughSamples):
        wasserstein_from_cells(cells, sample, cells.count(np.arange(20.0)), cells.count([None]))
