from typing import Literal

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from stats.arrays import FloatArray
from stats.cells import NumericCells
from stats.ecdf import Ecdf
from stats.errors import NotEnoughSamples
from stats.grid import grid_of
from stats.grid_line import measure_prepared
from stats.gridded import LEAST_ROWS, Gridded, prepare, prepare_beside
from stats.ks import ks
from stats.line import measure
from stats.wasserstein import wasserstein

ROWS = LEAST_ROWS + 5_000
Shape = Literal[
    "normal", "calm", "skewed", "billion", "few", "rounded", "wider", "zeros", "zeros less"
]


def _pair(shape: Shape) -> tuple[FloatArray, FloatArray]:
    generator = np.random.default_rng(7)
    before, now = generator.normal(size=(2, ROWS))
    return {
        "normal": (before, now + 0.05),
        "calm": (before, now),
        "skewed": (np.exp(before), np.exp(now + 0.02)),
        "billion": (before.round(4) + 1e9, now.round(4) + 1e9),
        "few": (before, now[:777] - 0.3),
        "rounded": (before.round(3), now.round(3)),
        "wider": (before, 1.3 * now),
        "zeros": (np.where(before > 0.3, -0.0, before), np.where(now > 0.31, -0.0, now)),
        "zeros less": (np.maximum(before, 0.0), np.maximum(now + 0.5, 0.0)),
    }[shape]


SHAPES: tuple[Shape, ...] = (
    "normal",
    "calm",
    "skewed",
    "billion",
    "few",
    "rounded",
    "wider",
    "zeros",
    "zeros less",
)


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_those_of_the_rows(shape: Shape) -> None:
    """D, where it is and W1 are scipy's to 1e-12 although few cells are sorted."""
    rows, rows_now = _pair(shape)
    before = prepare(rows)
    now = prepare_beside(rows_now, before)
    assert isinstance(before, Gridded)
    line = measure_prepared(before, now)
    expected = ks_2samp(rows, rows_now, method="asymp")
    assert line.gap == pytest.approx(expected.statistic, abs=1e-12)
    assert line.at == expected.statistic_location
    assert line.area == pytest.approx(wasserstein_distance(rows, rows_now), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_cells_are_those_of_the_sorted_rows(shape: Shape) -> None:
    """Edges and counts to the last bit; the spread to rounding."""
    rows, rows_now = _pair(shape)
    before, sorted_before = prepare(rows), Ecdf.of(rows)
    cells, expected = map(NumericCells.from_reference, (before, sorted_before))
    assert cells.edges == expected.edges
    assert (cells.median, cells.iqr) == (expected.median, expected.iqr)
    assert (before.quantile(0.3), before.iqr()) == (sorted_before.quantile(0.3), cells.iqr)
    assert cells.std == pytest.approx(expected.std, rel=1e-12)
    counted = cells.count_sample(prepare_beside(rows_now, before), missing=3)
    np.testing.assert_array_equal(counted[:-1], cells.count(rows_now)[:-1])
    np.testing.assert_array_equal(cells.count_sample(before), cells.count(rows))
    assert "exactly -0" not in cells.labels()


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_are_those_of_the_sorted_rows(shape: Shape) -> None:
    """What intervals are made of, taken at the grid's edges, is right to two per cent."""
    rows, rows_now = _pair(shape)
    before = prepare(rows)
    found = measure_prepared(before, prepare_beside(rows_now, before))
    expected = measure(Ecdf.of(rows), Ecdf.of(rows_now))
    assert found.noise == pytest.approx(expected.noise, rel=0.02, abs=1e-4 * expected.area)
    assert found.spread_before == pytest.approx(expected.spread_before, rel=0.02)
    assert found.spread_now == pytest.approx(expected.spread_now, rel=0.02)


def test_what_a_grid_cannot_spread_is_sorted() -> None:
    """Few values, one far outlier, few rows, both ends of the doubles: each has no grid."""
    rows = np.random.default_rng(8).normal(size=ROWS)
    for one in (
        np.floor(rows),
        np.append(rows, 1e9),
        rows[:100],
        np.zeros(ROWS),
        -np.exp(9 * rows),
    ):
        assert isinstance(prepare(one), Ecdf)
    assert grid_of(rows * 4e307) is None
    huge = grid_of(rows * 1e307)
    assert huge is not None
    assert np.isfinite(huge.edges()).all()


def test_a_heavy_value_is_found() -> None:
    """A value with a tenth of the rows has a cell to itself."""
    rows = np.random.default_rng(9).normal(size=ROWS)
    rows[::6], rows[1:2_001] = 0.25, 0.5
    before = prepare(rows)
    assert isinstance(before, Gridded)
    edges = NumericCells.from_reference(before).edges
    assert edges[edges.index(0.25) + 1] == np.nextafter(0.25, 1.0)
    assert before.heavier(ROWS / 10).tolist() == [0.25]
    assert before.heavier(1_999).tolist() == [0.25, 0.5]


@pytest.mark.parametrize("shift", [20.0, -20.0])
def test_rows_beyond_the_reference_are_measured(shift: float) -> None:
    """A window that moved off the grid, or one row of it, is as far away as its rows are."""
    rows = np.random.default_rng(10).normal(size=ROWS)
    before = prepare(rows)
    gone = measure_prepared(before, prepare_beside(rows + shift, before))
    assert gone.gap == 1.0
    assert gone.area == pytest.approx(20.0, rel=1e-12)
    one = measure_prepared(before, prepare_beside(np.append(rows, 1e6 * shift), before))
    assert one.area == pytest.approx(wasserstein_distance(rows, [*rows, 1e6 * shift]), rel=1e-12)
    expected = measure(Ecdf.of(rows), Ecdf.of([*rows, 1e6 * shift]))
    assert one.spread_now == pytest.approx(expected.spread_now, rel=0.02)
    assert one.noise == pytest.approx(expected.noise, rel=0.02)


def test_raw_rows_take_the_same_way() -> None:
    """The public distances give the prepared windows' answers, and leave out what is not finite."""
    rows, rows_now = _pair("normal")
    before = prepare(rows)
    now = prepare_beside(np.append(rows_now, [np.nan, np.inf]), before)
    assert ks(rows, rows_now) == ks(before, now)
    assert wasserstein(rows, rows_now, unit="sd").value == pytest.approx(
        measure_prepared(before, now).area / np.std(rows), rel=1e-12
    )


def test_an_empty_window_is_not_enough_samples() -> None:
    """No rows on a grid are no rows."""
    with pytest.raises(NotEnoughSamples, match="current window"):
        ks(np.arange(float(ROWS)), [np.nan])


def test_windows_of_different_grids_are_sorted() -> None:
    """Each prepared by itself, they have the same distances."""
    rows, rows_now = _pair("wider")
    before, now = prepare(rows), prepare(rows_now)
    assert measure_prepared(before, now) == measure(Ecdf.of(rows), Ecdf.of(rows_now))
