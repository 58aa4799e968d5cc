import numpy as np
import pytest

from stats.errors import InvalidInput, NotEnoughSamples
from stats.sequences import Moments, mean, mean_difference, share, share_difference

LOOKS = tuple(range(50, 2_001, 50))


def test_moments_of_shards_merge() -> None:
    """Those of two shards are those of all rows, wherever zero lies."""
    rows = np.random.default_rng(1).normal(1e9, 2.0, size=900)
    whole, merged = Moments.of(rows), Moments.of(rows[:250]).merge(Moments.of(rows[250:]))
    assert merged.n == 900
    assert merged.mean == pytest.approx(whole.mean, rel=1e-15)
    assert merged.variance == pytest.approx(whole.variance, rel=1e-6)
    assert Moments.of([None, np.nan, np.inf]).merge(whole) == whole


def test_peeking_at_means_is_free() -> None:
    """Forty looks at equal arms together leave zero out in at most 5 % of the runs."""
    generator = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        before, now = generator.exponential(size=(2, LOOKS[-1]))
        looks = [mean_difference(Moments.of(before[:n]), Moments.of(now[:n])) for n in LOOKS]
        missed += any(not one.interval.low <= 0.0 <= one.interval.high for one in looks)
    assert missed <= 10


def test_peeking_at_shares_is_free() -> None:
    """Forty looks at equal arms together leave zero out in at most 5 % of the runs."""
    generator = np.random.default_rng(3)
    hits = np.cumsum(generator.random((60, 2, LOOKS[-1])) < 0.1, axis=2)
    missed = 0
    for before, now in hits.tolist():
        looks = [share_difference(before[n - 1], n, now[n - 1], n).interval for n in LOOKS[::4]]
        missed += any(not one.low <= 0.0 <= one.high for one in looks)
    assert missed <= 3


def test_a_mean_by_hand() -> None:
    """At 500 rows of variance 1: 3.035 standard errors, against 1.96 for a single look."""
    found = mean(Moments(500, 3.0, 1.0))
    assert found.interval.high - 3.0 == pytest.approx(3.035 / np.sqrt(499), rel=0.001)


def test_differences_change_sign_with_their_arms() -> None:
    """Neither arm is special."""
    there, back = share_difference(30, 400, 90, 500), share_difference(90, 500, 30, 400)
    assert there.value == -back.value
    assert there.interval.low == pytest.approx(-back.interval.high, abs=1e-9)
    first, second = Moments(100, 1.0, 2.0), Moments(300, 1.4, 5.0)
    assert mean_difference(first, second).interval.low == pytest.approx(
        -mean_difference(second, first).interval.high
    )


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 10**7)])
def test_a_share_lies_in_its_interval(hits: int, n: int) -> None:
    """At the borders and among many rows, within 0..1."""
    found = share(hits, n)
    assert 0.0 <= found.interval.low <= found.value <= found.interval.high <= 1.0


def test_shares_at_the_border_differ_by_at_most_one() -> None:
    """All hits against none, a single row each, prove little."""
    found = share_difference(0, 1, 1, 1)
    assert found.value == 1.0
    assert -1.0 <= found.interval.low < 0.0
    assert found.interval.high == 1.0


def test_more_rows_narrow_the_sequence() -> None:
    """A hundred times the rows: at least a fifth of the width."""
    few, many = share_difference(10, 100, 20, 100), share_difference(1000, 10000, 2000, 10000)
    assert many.interval.high - many.interval.low < (few.interval.high - few.interval.low) / 5.0
    assert many.interval.low > 0.0 > few.interval.low


def test_tiny_arms_are_not_enough() -> None:
    """A normal limit needs rows, a share one of each."""
    with pytest.raises(NotEnoughSamples, match="current window has 3"):
        mean_difference(Moments(100, 0.0, 1.0), Moments(3, 0.0, 1.0))
    with pytest.raises(NotEnoughSamples):
        mean(Moments(19, 0.0, 1.0))
    with pytest.raises(NotEnoughSamples):
        share_difference(0, 0, 1, 2)


def test_impossible_arguments_are_refused() -> None:
    """More hits than rows and a level of 95 are none."""
    with pytest.raises(InvalidInput, match="hits"):
        share_difference(3, 2, 1, 2)
    with pytest.raises(InvalidInput, match="such as"):
        share(1, 2, level=95.0)
