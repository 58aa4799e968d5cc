import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.arrays import as_values
from stats.cells import SORTED_UP_TO, NumericCells
from stats.ecdf import Ecdf
from stats.errors import InvalidInput, NotEnoughSamples
from stats.psi import psi

VALUES = st.lists(
    st.one_of(st.integers(-5, 5).map(float), st.floats(width=32), st.none()), min_size=0
)


def test_a_value_on_an_edge_goes_up() -> None:
    """An edge belongs to the cell above it."""
    cells = NumericCells.from_reference(np.arange(100.0), bins=4)
    assert cells.edges == (0.0, 25.0, 50.0, 75.0, np.nextafter(99.0, 100.0))
    assert cells.count([24.999, 25.0]).tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_reference_fills_quantile_cells_evenly() -> None:
    """Every bin of a continuous reference holds the same number of its rows."""
    reference = np.random.default_rng(1).normal(size=1000)
    counts = NumericCells.from_reference(reference, bins=10).count(reference)
    assert counts.tolist() == [0, *[100] * 10, 0, 0, 0]


def test_guards_missing_and_invalid_have_their_own_cells() -> None:
    """Values out of range, infinities and missing rows never share a cell with the rest."""
    cells = NumericCells.from_reference(np.arange(10.0), bins=2)
    counts = cells.count([-1.0, 9.1, np.inf, -np.inf, None, np.nan, np.nan])
    assert counts.tolist() == [1, 0, 0, 1, 2, 3]
    assert cells.labels() == ("below 0", "0 to 5", "5 to 9", "from 9", "invalid", "missing")


def test_constant_reference_shows_a_move_from_zero_to_one() -> None:
    """A constant reference has a cell for its value and guards on both sides."""
    cells = NumericCells.from_reference(np.zeros(50))
    assert cells.count([0.0, 1.0, -1.0, 1.0]).tolist() == [1, 1, 2, 0, 0]
    assert psi(cells.count(np.zeros(50)), cells.count(np.ones(50))).value > 4.0


def test_heavy_value_has_edges_on_both_sides() -> None:
    """In a zero-inflated reference zero is counted apart from its smallest neighbours."""
    reference = np.concatenate((np.zeros(600), np.random.default_rng(2).exponential(size=400)))
    cells = NumericCells.from_reference(reference)
    zero = cells.edges.index(0.0)
    assert cells.edges[zero + 1] == np.nextafter(0.0, 1.0)
    assert cells.count([0.0, 1e-300, -1e-300])[zero + 1] == 1
    assert cells.labels()[zero + 1] == "exactly 0"


def test_edges_are_distinct() -> None:
    """Duplicate quantiles of a discrete reference are removed."""
    cells = NumericCells.from_reference(np.repeat([1.0, 2.0, 3.0], [5, 90, 5]), bins=20)
    assert list(cells.edges) == sorted(set(cells.edges))


def test_values_near_a_billion_keep_their_spread() -> None:
    """Cells and units of values near 1e9 are those of the centred values."""
    rows = np.random.default_rng(3).normal(size=500).round(3)
    near, far = NumericCells.from_reference(rows), NumericCells.from_reference(rows + 1e9)
    assert far.std == pytest.approx(near.std, rel=1e-6)
    assert far.count(rows + 1e9).tolist() == near.count(rows).tolist()


def test_too_few_rows_are_not_enough_samples() -> None:
    """An all-missing or tiny reference says how many rows it has and needs."""
    with pytest.raises(NotEnoughSamples) as caught:
        NumericCells.from_reference([None, np.nan, np.inf, 1.0])
    assert (caught.value.n, caught.value.needed) == (1, 10)


@pytest.mark.parametrize("bins", [1, 0])
def test_fewer_than_two_bins_are_refused(bins: int) -> None:
    """A single bin compares nothing."""
    with pytest.raises(InvalidInput, match="at least 2"):
        NumericCells.from_reference(np.arange(10.0), bins=bins)


def test_text_is_refused_with_a_way_out() -> None:
    """Text in a numeric feature names the other kind of cells."""
    with pytest.raises(InvalidInput, match="CategoryCells"):
        NumericCells.from_reference(["a", "b"])


def test_stored_form_survives_json() -> None:
    """Cells read back from JSON are equal, to the last bit of an edge."""
    cells = NumericCells.from_reference(np.random.default_rng(4).normal(size=300), bins=64)
    assert NumericCells.from_dict(json.loads(json.dumps(cells.to_dict()))) == cells


@pytest.mark.parametrize("damage", [{"edges": []}, {"edges": [2.0, 1.0]}, {"std": None}])
def test_damaged_stored_form_is_refused(damage: dict[str, object]) -> None:
    """Stored cells that cannot be cells are an error, not a wrong count."""
    stored = NumericCells.from_reference(np.arange(10.0)).to_dict() | damage
    with pytest.raises(InvalidInput):
        NumericCells.from_dict(stored)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_sorted_rows_are_counted_alike(values: list[float]) -> None:
    """Of a sample, with what it leaves out, as of its rows, edges included."""
    cells = NumericCells.from_reference([0.0, 1.0, 1.0, 2.0, 5.0, *range(20)])
    rows = as_values([*values, 1.0, np.inf, np.nan])
    lost = {"invalid": int(np.isinf(rows).sum()), "missing": int(np.isnan(rows).sum())}
    found = cells.count_sample(Ecdf.of(rows), **lost)
    np.testing.assert_array_equal(found, cells.count(rows))


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 50))
def test_shards_add_up_to_the_whole(values: list[float | None], cut: int) -> None:
    """Counts of any two shards add up to the counts of all rows, each row in one cell."""
    cells = NumericCells.from_reference(np.arange(-3.0, 4.0), bins=5)
    whole = cells.count(values)
    assert whole.sum() == len(values)
    assert (cells.count(values[:cut]) + cells.count(values[cut:])).tolist() == whole.tolist()


def test_many_rows_are_counted_as_few() -> None:
    """However many come at once, and so whether or not they are sorted to be counted."""
    cells = NumericCells.from_reference(np.arange(20.0))
    rows = np.random.default_rng(7).normal(10.0, 6.0, size=3 * SORTED_UP_TO).round()
    rows[::100], rows[1::99], rows[2::98] = np.nan, np.inf, -np.inf
    parts = sum(cells.count(part) for part in rows.reshape(3, -1))
    np.testing.assert_array_equal(cells.count(rows), parts)


def test_weights_are_repetition() -> None:
    """A row of weight three counts as three rows."""
    cells = NumericCells.from_reference(np.arange(10.0))
    rows, weights = np.array([1.0, np.nan, 40.0]), [3, 2, 0]
    repeated = cells.count(np.repeat(rows, weights))
    assert cells.count(rows, weights).tolist() == repeated.tolist()


def test_merged_samples_equal_the_whole_sample() -> None:
    """Two merged distribution functions are that of all rows."""
    rows = np.random.default_rng(5).integers(0, 9, size=200).astype(float)
    merged, whole = Ecdf.of(rows[:70]).merge(Ecdf.of(rows[70:])), Ecdf.of(rows)
    assert merged.support.tolist() == whole.support.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()


def test_weights_must_be_whole_and_fit() -> None:
    """Fractions of a row and a missing weight are refused."""
    with pytest.raises(InvalidInput, match="whole numbers"):
        Ecdf.of([1.0], [0.5])
    with pytest.raises(InvalidInput, match="one each"):
        Ecdf.of([1.0, 2.0], [1])


def test_quantile_is_an_order_statistic() -> None:
    """The median of four values is the second, not a value between."""
    sample = Ecdf.of([4.0, 1.0, 3.0, 2.0])
    assert [sample.quantile(share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]


def test_spread_equals_numpy() -> None:
    """The standard deviation has divisor n."""
    rows = np.random.default_rng(6).normal(5.0, 2.0, size=77)
    assert Ecdf.of(rows).std() == pytest.approx(np.std(rows), rel=1e-12)
