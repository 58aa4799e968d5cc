"""Many features of one look: what Holm's correction leaves to each."""

import numpy as np
import pytest

from monitors.baselines import Reference
from monitors.drift import Comparison, compare
from monitors.report.family import FAMILY_LEVEL, share_level
from monitors.verdicts import has_evidence
from stats.categories import CategoryCells


def compared(feature: str, changed: int, dispersion: float = 1.0) -> Comparison:
    """Return a comparison in which some of 1,000 rows changed their category."""
    cells = CategoryCells.from_reference({"a": 500, "b": 500})
    before, now = (cells.count({"a": 500 - rows, "b": 500 + rows}) for rows in (0, changed))
    words = ["a"] * int(now[0]) + ["b"] * int(now[1])
    reference = Reference(
        *(feature, "categorical", 1000, cells, np.asarray(before), None), dispersion=dispersion
    )
    found = compare(reference, words, alpha=0.01, min_samples=50)
    assert isinstance(found, Comparison)
    return found


def test_levels_grow_behind_features_with_evidence() -> None:
    """A tenth of the level for the least p-value of ten, a ninth for the next, and no more."""
    found = [compared(f"f{n}", 0) for n in range(8)]
    shared = share_level([*found, compared("far", 200), compared("near", 90)])
    assert shared["far"][0].alpha == pytest.approx(FAMILY_LEVEL / 10)
    assert shared["near"][0].alpha == pytest.approx(FAMILY_LEVEL / 9)
    assert [has_evidence(shared[name][0]) for name in ("far", "near", "f0")] == [True, True, False]
    assert {shared[f"f{n}"][0].alpha for n in range(8)} == {FAMILY_LEVEL / 8}


@pytest.mark.parametrize("changed", [0, 30, 50, 55, 58, 60, 70, 200])
def test_evidence_is_the_adjusted_p_value(changed: int) -> None:
    """The level that a comparison carries says the same as its adjusted p-value."""
    others = [compared(f"f{n}", 20 * n) for n in range(4)]
    for one, adjusted in share_level([*others, compared("x", changed)]).values():
        assert has_evidence(one) is (adjusted <= FAMILY_LEVEL)


def test_rows_that_depend_on_each_other_are_less_evidence() -> None:
    """The threshold grows with the baseline's dispersion, and so does the p-value."""
    (plain, small), (wide, large) = (
        share_level([compared("x", 70, dispersion)])["x"] for dispersion in (1.0, 5.0)
    )
    assert wide.threshold == pytest.approx(5.0 * plain.threshold)
    assert (small < FAMILY_LEVEL < large, has_evidence(plain), has_evidence(wide)) == (
        *(True, True),
        False,
    )


def test_no_features_share_nothing() -> None:
    """A route whose features all have too few rows."""
    assert share_level([]) == {}
