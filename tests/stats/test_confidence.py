import math

import numpy as np
import pytest
from scipy.stats import binomtest, ncx2

from stats.confidence import EXACT_UP_TO, dkw_band, noncentrality, wilson
from stats.errors import InvalidInput, NotEnoughSamples


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 200), (5, 5), (333, 1_000)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    """The score interval is scipy's."""
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    found = wilson(hits, n)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_refuses_impossible_hits() -> None:
    """Hits lie in 0..n and n is at least one."""
    with pytest.raises(InvalidInput):
        wilson(3, 2)
    with pytest.raises(NotEnoughSamples):
        wilson(0, 0)


def test_dkw_by_hand() -> None:
    """At 100 rows and 95 % the band is sqrt(ln 40 / 200)."""
    assert dkw_band(100) == pytest.approx(math.sqrt(math.log(40) / 200), rel=1e-12)
    with pytest.raises(NotEnoughSamples):
        dkw_band(0)


def test_noncentrality_inverts_the_law() -> None:
    """The ends are where the observed statistic is the 97.5 % and the 2.5 % quantile."""
    found = noncentrality(30.0, 9)
    assert ncx2.cdf(30.0, 9, found.low) == pytest.approx(0.975, abs=1e-9)
    assert ncx2.cdf(30.0, 9, found.high) == pytest.approx(0.025, abs=1e-9)


def test_noncentrality_is_continuous_at_the_switch() -> None:
    """Exact search and normal law agree where one takes over from the other."""
    below, above = noncentrality(EXACT_UP_TO, 66), noncentrality(EXACT_UP_TO + 1e-6, 66)
    assert np.allclose([below.low, below.high], [above.low, above.high], rtol=1e-5)


def test_luck_does_not_narrow_the_upper_end() -> None:
    """A statistic of zero leaves as much room above as an ordinary undrifted one."""
    assert noncentrality(0.0, 9).low == 0.0
    assert noncentrality(0.0, 9).high == noncentrality(9.0, 9).high
