import numpy as np
import pytest

from stats.adwin import Adwin, update
from stats.errors import InvalidInput


def test_window_holds_all_values_of_a_calm_stream() -> None:
    """Without a change nothing is dropped, in a logarithmic number of buckets."""
    state = Adwin()
    values = np.random.default_rng(1).normal(size=400)
    for value in values:
        state = update(state, float(value))
    assert state.n == 400
    assert state.mean == pytest.approx(values.mean())
    assert len(state.buckets) < 50
    squares = sum(part + total**2 / n for n, total, part in state.buckets)
    assert squares == pytest.approx(float(np.square(values).sum()))


def test_change_of_the_mean_drops_the_past() -> None:
    """After a shift of two sd the window begins near the change."""
    generator = np.random.default_rng(2)
    state, cuts = Adwin(), []
    for i in range(400):
        state = update(state, float(generator.normal(0.0 if i < 250 else 2.0)))
        if state.drifted:
            cuts.append(i)
    assert cuts[0] in range(250, 275)
    assert state.n <= 170
    assert state.mean == pytest.approx(2.0, abs=0.4)


@pytest.mark.parametrize("delta", [0.0, 1.0, float("nan")])
def test_impossible_delta_is_refused(delta: float) -> None:
    """It is a chance."""
    with pytest.raises(InvalidInput, match="delta"):
        Adwin(delta)
