import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from stats.divergence import hellinger, js_distance, kl_divergence, total_variation
from stats.errors import NotEnoughSamples

COUNTS = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)
FAR = ([10, 0], [0, 30])


@settings(max_examples=80, deadline=None)
@given(COUNTS, COUNTS)
def test_js_equals_scipy(before: list[int], now: list[int]) -> None:
    """The distance is scipy's in base 2; squares agree to 1e-12, as both round near zero."""
    expected = float(np.nan_to_num(jensenshannon(before, now, base=2)))
    assert js_distance(before, now).value ** 2 == pytest.approx(expected**2, abs=1e-12)


@pytest.mark.parametrize("distance", [js_distance, hellinger, total_variation])
def test_disjoint_windows_are_one_apart(distance: object) -> None:
    """Windows without a common cell are as far apart as can be."""
    assert callable(distance)
    assert distance(*FAR).value == pytest.approx(1.0, abs=1e-12)


def test_hellinger_by_hand() -> None:
    """Shares (1/2, 1/2) against (9/10, 1/10)."""
    square = 1.0 - math.sqrt(0.45) - math.sqrt(0.05)
    assert hellinger([5, 5], [9, 1]).value == pytest.approx(math.sqrt(square), rel=1e-12)


def test_total_variation_by_hand() -> None:
    """Forty percent of the rows changed cells."""
    assert total_variation([5, 5], [9, 1]).value == pytest.approx(0.4, rel=1e-12)


def test_kl_by_hand() -> None:
    """Smoothed shares (5.5, 5.5)/11 against (9.5, 1.5)/11."""
    q = 9.5 / 11
    expected = q * math.log(q / 0.5) + (1 - q) * math.log((1 - q) / 0.5)
    assert kl_divergence([5, 5], [9, 1]).value == pytest.approx(expected, rel=1e-12)


P, Q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.25, 0.3, 0.25, 0.2])
M = (P + Q) / 2
TRUTHS = {
    js_distance: math.sqrt(float((P * np.log2(P / M) + Q * np.log2(Q / M)).sum()) / 2),
    hellinger: math.sqrt(1.0 - float(np.sqrt(P * Q).sum())),
    total_variation: 0.15,
    kl_divergence: float((Q * np.log(Q / P)).sum()),
}


@pytest.mark.parametrize("distance", list(TRUTHS))
def test_interval_covers_the_population(distance: object) -> None:
    """At least 93 % of the intervals hold the population's value."""
    assert callable(distance)
    generator = np.random.default_rng(1)
    truth, held = TRUTHS[distance], 0
    for _ in range(300):
        found = distance(generator.multinomial(900, P), generator.multinomial(300, Q)).interval
        held += found.low <= truth <= found.high
    assert held >= 279


@pytest.mark.parametrize("distance", list(TRUTHS))
def test_interval_reaches_zero_without_drift(distance: object) -> None:
    """At least 95 % of the intervals of undrifted windows start at zero."""
    assert callable(distance)
    generator = np.random.default_rng(2)
    lows = [
        distance(generator.multinomial(900, P), generator.multinomial(300, P)).interval.low
        for _ in range(300)
    ]
    assert sum(low == 0.0 for low in lows) >= 285


@pytest.mark.parametrize("distance", list(TRUTHS))
def test_empty_window_is_not_enough_samples(distance: object) -> None:
    """No rows is never no drift."""
    assert callable(distance)
    with pytest.raises(NotEnoughSamples):
        distance([0, 0], [1, 1])
