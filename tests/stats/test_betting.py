import numpy as np
import pytest

from stats.betting import begin, interval, look
from stats.errors import InvalidInput, NotEnoughSamples


def test_the_sequence_holds_the_mean_at_every_look() -> None:
    """Ten looks together miss the mean of a skewed law in at most 5 % of the runs."""
    generator = np.random.default_rng(1)
    missed = 0
    for _ in range(60):
        wealth, held = begin(), True
        for _ in range(10):
            wealth = look(wealth, generator.beta(1.0, 9.0, size=20))
            inside = interval(wealth).interval
            held = held and inside.low <= 0.1 <= inside.high
        missed += not held
    assert missed <= 3


def test_looks_of_any_size_give_the_same() -> None:
    """Row by row or all at once, the state is that of the rows in their order."""
    rows = np.random.default_rng(2).random(60)
    whole, single = look(begin(), rows), begin()
    for row in rows:
        single = look(single, [row])
    np.testing.assert_allclose(single.up, whole.up, atol=1e-9)
    np.testing.assert_allclose(single.down, whole.down, atol=1e-9)
    assert interval(single).value == pytest.approx(float(rows.mean()))


def test_a_small_variance_is_used() -> None:
    """Rows that vary little have an interval far inside of Hoeffding's."""
    rows = np.random.default_rng(3).normal(0.3, 0.02, size=2_000)
    inside = interval(look(begin(), rows)).interval
    assert inside.low < 0.3 < inside.high
    assert inside.high - inside.low < 0.02


def test_a_range_scales_the_interval() -> None:
    """Scores from 1 to 5 are those of 0 to 1, stretched."""
    rows = np.random.default_rng(4).random(200)
    unit = interval(look(begin(), rows))
    scores = interval(look(begin(), 1.0 + 4.0 * rows, low=1.0, high=5.0), low=1.0, high=5.0)
    assert scores.value == pytest.approx(1.0 + 4.0 * unit.value)
    assert scores.interval.high == pytest.approx(1.0 + 4.0 * unit.interval.high)


@pytest.mark.parametrize("row", [0.0, 1.0, 0.12345])
def test_constants_keep_their_value(row: float) -> None:
    """At the ends of the range and between two candidates."""
    found = interval(look(begin(), np.full(5_000, row)))
    assert found.interval.low <= found.value <= found.interval.high
    assert found.value == pytest.approx(row)
    assert found.interval.high - found.interval.low < 0.02


def test_missing_rows_are_left_out() -> None:
    """They count neither way; before the first row nothing is known."""
    assert look(begin(), [None, 0.5, np.nan]).n == 1
    with pytest.raises(NotEnoughSamples):
        interval(look(begin(), [None]))


@pytest.mark.parametrize(("rows", "low", "high"), [([1.5], 0, 1), ([np.inf], 0, 1), ([0.5], 1, 1)])
def test_rows_out_of_range_are_refused(rows: list[float], low: float, high: float) -> None:
    """A bound that does not hold would void the promise."""
    with pytest.raises(InvalidInput):
        look(begin(), rows, low=low, high=high)


def test_a_level_is_a_chance() -> None:
    """95 is none."""
    with pytest.raises(InvalidInput):
        begin(95.0)
