import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.categories import CategoryCells, cells_from_dict
from stats.cells import NumericCells
from stats.errors import InvalidInput, NotEnoughSamples

REFERENCE = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"] + [None]


def test_top_other_new_and_missing_are_apart() -> None:
    """Known rare categories are `other`, unknown ones `new`."""
    cells = CategoryCells.from_reference(REFERENCE, top=2)
    assert cells.labels() == ("a", "b", "other", "new", "missing")
    assert cells.count(["a", "c", "d", "zzz", None, float("nan")]).tolist() == [1, 0, 2, 1, 2]


def test_ties_go_by_name() -> None:
    """The order of the reference's rows never decides which category has a cell."""
    rows = ["x", "y", "z", "w"] * 3
    random.Random(1).shuffle(rows)
    assert CategoryCells.from_reference(rows, top=2).top == ("w", "x")


def test_more_categories_than_are_kept_are_other() -> None:
    """Without the whole list nothing can be called new."""
    cells = CategoryCells.from_reference([str(i) for i in range(20)], top=3, known=5)
    assert not cells.complete
    assert cells.count(["never seen"])[cells.new] == 0
    assert cells.count(["never seen"])[3] == 1


def test_booleans_and_numbers_do_not_mix() -> None:
    """True and 1 are equal keys in Python, yet two categories."""
    cells = CategoryCells.from_reference([True, 1, False, np.bool_(True)])
    assert set(cells.top) == {"true", "1", "false"}
    assert cells.count([True, True, 1])[cells.top.index("true")] == 2


def test_a_table_counts_like_its_rows() -> None:
    """A GROUP BY's answer and the rows themselves give the same counts."""
    cells = CategoryCells.from_reference({"a": 5, "b": 3, "c": 2, "d": 1, None: 1}, top=2)
    assert cells == CategoryCells.from_reference(REFERENCE, top=2)
    assert cells.count({"a": 2, None: 3}).tolist() == cells.count(["a", "a", *[None] * 3]).tolist()


def test_all_missing_is_not_enough_samples() -> None:
    """A reference without a single category is an answer of its own."""
    with pytest.raises(NotEnoughSamples):
        CategoryCells.from_reference([None, float("nan")])


def test_stored_forms_of_both_kinds_survive_json() -> None:
    """Whoever reads stored cells need not know their kind."""
    for cells in (
        CategoryCells.from_reference(REFERENCE, top=2),
        NumericCells.from_reference(np.arange(20.0)),
    ):
        assert cells_from_dict(json.loads(json.dumps(cells.to_dict()))) == cells


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "wavelet"},
        {"kind": "categorical", "top": ["a"]},
        {"kind": "categorical", "top": ["a"], "rest": ["a"], "complete": True},
    ],
)
def test_damaged_stored_form_is_refused(stored: dict[str, object]) -> None:
    """What is not the stored form of cells is an error."""
    with pytest.raises(InvalidInput):
        cells_from_dict(stored)


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", None])), st.integers(0, 30))
def test_shards_add_up_to_the_whole(values: list[str | None], cut: int) -> None:
    """Counts of any two shards add up to the counts of all rows."""
    cells = CategoryCells.from_reference(REFERENCE, top=2)
    whole = cells.count(values)
    assert whole.sum() == len(values)
    assert (cells.count(values[:cut]) + cells.count(values[cut:])).tolist() == whole.tolist()


def test_impossible_sizes_are_refused() -> None:
    """Cells without a single top category compare nothing."""
    with pytest.raises(InvalidInput, match="top is 0"):
        CategoryCells.from_reference(["a"], top=0)
