import pytest

from stats.errors import InvalidInput
from stats.page_hinkley import PageHinkley, update


def test_sums_by_hand() -> None:
    """Values 0, 2, 4 have running means 0, 1, 2: the upper sum is (1 - .5) + (2 - .5)."""
    state = PageHinkley(allowance=0.5, threshold=10.0)
    for value in (0.0, 2.0, 4.0):
        state = update(state, value)
    assert (state.mean, state.up, state.down) == (2.0, 2.0, 0.0)


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_both_directions_are_told_and_it_begins_anew(step: float) -> None:
    """A step up or down reaches the threshold; the next value starts a new test."""
    state = PageHinkley(allowance=0.1, threshold=2.0)
    for i in range(30):
        state = update(state, 0.0 if i < 20 else step)
        if state.drifted:
            break
    assert state.drifted
    assert i == 22
    assert update(state, 5.0) == PageHinkley(0.1, 2.0, n=1, mean=5.0)


@pytest.mark.parametrize(("allowance", "threshold"), [(-1.0, 1.0), (0.0, 0.0), (0.0, float("nan"))])
def test_impossible_levels_are_refused(allowance: float, threshold: float) -> None:
    """Both are numbers in the values' unit."""
    with pytest.raises(InvalidInput):
        PageHinkley(allowance, threshold)
