import numpy as np
import pytest

from stats.cells import NumericCells
from stats.errors import NotEnoughSamples
from stats.ks import ks
from stats.missing import rate_change


def test_newcombe_by_hand() -> None:
    """56 of 70 against 48 of 80: Newcombe's own example has .0524 to .3339."""
    found = rate_change(48, 80, 56, 70)
    assert found.value == pytest.approx(0.2)
    assert found.interval.low == pytest.approx(0.0524, abs=5e-5)
    assert found.interval.high == pytest.approx(0.3339, abs=5e-5)


def test_missing_rate_shows_what_ks_hides() -> None:
    """From 10 % to 40 % missing KS of the rest stays quiet; the rate does not."""
    generator = np.random.default_rng(1)
    before, now = generator.normal(size=2_000), generator.normal(size=500)
    before[:200], now[:200] = np.nan, np.nan
    cells = NumericCells.from_reference(before)
    found = rate_change(
        int(cells.count(before)[-1]), before.size, int(cells.count(now)[-1]), now.size
    )
    assert ks(before, now).value < 0.1
    assert found.value == pytest.approx(0.3)
    assert found.interval.low > 0.25


def test_all_rows_missing_is_a_rate() -> None:
    """A window in which every row is missing has a rate of one."""
    found = rate_change(0, 100, 50, 50)
    assert found.value == 1.0
    assert found.interval.high == 1.0


@pytest.mark.parametrize(("m", "n"), [(0, 10), (10, 0)])
def test_empty_window_is_not_enough_samples(m: int, n: int) -> None:
    """A rate of no rows does not exist."""
    with pytest.raises(NotEnoughSamples):
        rate_change(0, m, 0, n)
