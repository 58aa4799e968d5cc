import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.buckets import Sketch
from stats.ecdf import Ecdf
from stats.errors import NoScale, NotEnoughSamples
from stats.ks import ks
from stats.sketch_distance import ks_from_sketch, wasserstein_from_sketch
from stats.wasserstein import wasserstein

ROWS = st.lists(st.integers(-60, 300).map(lambda n: n * 0.37), min_size=2, max_size=60)


@settings(max_examples=150, deadline=None)
@given(ROWS, ROWS)
def test_bounds_hold_the_distance_of_the_rows(before: list[float], now: list[float]) -> None:
    """D of the rows lies between the distance at the borders and the stated upper bound."""
    found = ks_from_sketch(Ecdf.of(before), Sketch.of(now))
    exact = ks(before, now).value
    assert found.bounds.low - 1e-12 <= exact <= found.bounds.high + 1e-12
    assert found.value == found.bounds.low


@settings(max_examples=150, deadline=None)
@given(ROWS, ROWS)
def test_bounds_hold_the_moved_distance(before: list[float], now: list[float]) -> None:
    """The winsorised distance of the rows lies within the bounds of the bucketed one."""
    reference = Ecdf.of(before)
    try:
        exact = wasserstein(reference, now, unit="sd", winsorise=True).value
    except NoScale:
        with pytest.raises(NoScale):
            wasserstein_from_sketch(reference, Sketch.of(now))
        return
    bounds = wasserstein_from_sketch(reference, Sketch.of(now)).bounds
    assert bounds.low - 1e-9 <= exact <= bounds.high + 1e-9


def test_equal_windows_have_no_distance() -> None:
    """Both are taken to lie in the same places."""
    rows = np.random.default_rng(1).lognormal(5.0, 0.5, size=4_000)
    reference, window = Ecdf.of(rows), Sketch.of(rows)
    assert ks_from_sketch(reference, window).value == 0.0
    assert wasserstein_from_sketch(reference, window).value == 0.0


@pytest.mark.parametrize("factor", [1.02, 1.2, 3.0])
def test_bounds_are_tight_where_values_are_spread(factor: float) -> None:
    """On a usual latency D is known to 0.02 and the distance to 0.05 sd."""
    generator = np.random.default_rng(2)
    before = generator.lognormal(0.0, 0.7, size=4_096)
    now = generator.lognormal(0.0, 0.7, size=20_000) * factor
    distance = ks_from_sketch(Ecdf.of(before), Sketch.of(now)).bounds
    moved = wasserstein_from_sketch(Ecdf.of(before), Sketch.of(now)).bounds
    assert distance.high - distance.low < 0.02
    assert moved.high - moved.low < 0.05 * max(1.0, factor)


def test_nothing_has_no_distance() -> None:
    """A window without a finite row is an answer of its own."""
    with pytest.raises(NotEnoughSamples, match="current window has 0"):
        ks_from_sketch(Ecdf.of([1.0]), Sketch.of([np.nan, np.inf]))
