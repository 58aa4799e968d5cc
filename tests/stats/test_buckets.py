import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.buckets import INFINITE, RELATIVE_ERROR, Sketch, bucket_numbers, spans
from stats.errors import InvalidInput, NotEnoughSamples
from storage.rollups.buckets import bucket_of, value_of

ANY = st.floats(allow_nan=False) | st.sampled_from([0.0, 1e-6, -1e-6, 9.9e-7, 100.0])


@given(st.lists(ANY, min_size=1, max_size=20))
def test_numbers_are_those_of_the_roll_ups(values: list[float]) -> None:
    """Sign, zero, infinity and every size have the bucket that the roll-ups give them."""
    assert bucket_numbers(values).tolist() == [bucket_of(value) for value in values]


@given(st.integers(-30_000, 30_000))
def test_middles_are_those_of_the_roll_ups(bucket: int) -> None:
    """The number that stands for a bucket is the same on both sides."""
    assert spans([bucket]).middle[0] == pytest.approx(value_of(bucket), rel=1e-12)


@given(st.floats(1.01e-6, 1e12), st.sampled_from([1, -1]))
def test_a_bucket_is_within_one_percent(size: float, sign: int) -> None:
    """The value that stands for a bucket is never further off than the stated error."""
    found = spans(bucket_numbers([sign * size])).middle[0]
    assert abs(found / (sign * size) - 1.0) <= RELATIVE_ERROR * (1 + 1e-9)
    assert RELATIVE_ERROR < 0.01


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_a_bucket_holds_its_rows(values: list[float]) -> None:
    """Each row lies in its bucket's span, and spans of neighbours meet."""
    numbers = bucket_numbers(values)
    span = spans(numbers)
    slack = 1e-12 * np.abs(values)
    assert np.all(span.low - slack <= values)
    assert np.all(values <= span.high + slack)
    np.testing.assert_allclose(spans(numbers + 1).low, span.high, rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_within_one_percent(share: float) -> None:
    """A quantile is within 1 % of the sample's own, negative rows included."""
    rows = np.random.default_rng(1).normal(1.0, 3.0, size=5_000)
    exact = float(np.quantile(rows, share, method="inverted_cdf"))
    assert Sketch.of(rows).quantile(share).value == pytest.approx(exact, rel=0.01)


def test_several_quantiles_at_once_are_the_single_ones() -> None:
    """Without their intervals they have the same values; no rows have none."""
    sketch = Sketch.of(np.random.default_rng(1).normal(1.0, 3.0, size=5_000))
    shares = (0.0, 0.5, 0.95, 1.0)
    single = [sketch.quantile(share).value for share in shares]
    assert sketch.values_at(shares) == pytest.approx(single, rel=1e-12)
    with pytest.raises(NotEnoughSamples):
        Sketch.of([]).values_at(shares)


def test_parts_merge_to_the_whole() -> None:
    """Merged sketches of shards are the sketch of all rows; percentiles are never averaged."""
    rows = np.append(np.random.default_rng(2).exponential(80.0, size=999), [np.inf, np.nan])
    parts = [Sketch.of(rows[:100]), Sketch.of(rows[100:]), Sketch.of([])]
    merged, whole = Sketch.merged(parts), Sketch.of(rows)
    assert merged.buckets.tolist() == whole.buckets.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()
    assert (merged.n, merged.invalid) == (whole.n, whole.invalid) == (999, 1)


def test_interval_covers_the_population() -> None:
    """The interval holds the true p90 of an exponential in at least 92 % of the samples."""
    generator = np.random.default_rng(3)
    truth, held = 100.0 * math.log(10.0), 0
    for _ in range(300):
        inside = Sketch.of(generator.exponential(100.0, size=400)).quantile(0.9).interval
        held += inside.low * 0.99 <= truth <= inside.high * 1.01
    assert held >= 276


def test_zero_is_a_row_like_any_other() -> None:
    """A latency of zero counts, as zero."""
    assert Sketch.of([0.0, 0.0, 5.0]).quantile(0.5).value == 0.0


def test_infinite_rows_are_counted_apart() -> None:
    """They are invalid, as they are in cells."""
    found = Sketch.of_counts([-INFINITE, 7, INFINITE], [1, 2, 3])
    assert (found.n, found.invalid) == (2, 4)


def test_the_sample_has_the_middles() -> None:
    """Distances are computed over the buckets' middles, each as often as it was counted."""
    sample = Sketch.of([1.0, 1.0, 2.0]).sample()
    assert sample.n == 3
    assert sample.counts.tolist() == [2, 1]
    np.testing.assert_allclose(sample.support, [1.0, 2.0], rtol=RELATIVE_ERROR)


def test_nothing_has_no_quantile() -> None:
    """An empty sketch is an answer of its own."""
    with pytest.raises(NotEnoughSamples):
        Sketch.of([]).quantile(0.5)


@pytest.mark.parametrize("share", [-0.1, 1.1, 99.0])
def test_shares_lie_between_0_and_1(share: float) -> None:
    """99 is no share."""
    with pytest.raises(InvalidInput, match=r"0\.\.1"):
        Sketch.of([1.0]).quantile(share)


def test_missing_values_have_no_bucket() -> None:
    """They are counted beside the buckets."""
    with pytest.raises(InvalidInput):
        bucket_numbers([1.0, math.nan])
