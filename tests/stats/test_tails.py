"""Tails of three laws against scipy's."""

import pytest
from scipy import stats

from stats.errors import InvalidInput
from stats.tails import binomial_tail, hypergeometric_tail, student_tail


@pytest.mark.parametrize(
    ("hits", "n", "share"),
    [(1, 3, 0.144), (4, 4, 0.144), (20, 1000, 0.01), (900, 100_000, 0.01), (60, 60, 0.5)],
)
def test_binomial_tail(hits: int, n: int, share: float) -> None:
    """The chance of so many or more is scipy's."""
    expected = float(stats.binom.sf(hits - 1, n, share))
    assert binomial_tail(hits, n, share) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("t", "degrees"), [(0.0, 3.0), (2.5, 4.7), (10.0, 4.7), (-1.0, 9.0)])
def test_student_tail(t: float, degrees: float) -> None:
    """Also for degrees of freedom that are not whole."""
    expected = float(stats.t.sf(t, degrees))
    assert student_tail(t, degrees) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("before", "now"),
    [((0, 5000), (3, 100)), ((50, 5000), (9, 100)), ((500, 5000), (5, 100)), ((0, 9), (0, 7))],
)
def test_hypergeometric_tail(before: tuple[int, int], now: tuple[int, int]) -> None:
    """Fisher's test, one-sided, above and below the mean."""
    hits = before[0] + now[0]
    expected = float(stats.hypergeom.sf(now[0] - 1, before[1] + now[1], hits, now[1]))
    assert hypergeometric_tail(*before, *now) == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_is_refused() -> None:
    """More hits than rows, and no degrees of freedom."""
    with pytest.raises(InvalidInput, match="5 hits of 4"):
        binomial_tail(5, 4, 0.1)
    with pytest.raises(InvalidInput, match="degrees"):
        student_tail(1.0, 0.0)
