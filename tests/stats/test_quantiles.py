import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.errors import InvalidInput, NotEnoughSamples
from stats.quantiles import (
    RELATIVE_ERROR,
    bucket_counts,
    bucket_keys,
    bucket_value,
    merge_buckets,
    quantile,
)


def test_keys_are_those_of_the_roll_ups() -> None:
    """The key is round(ln(ms) * 50.5), below one millisecond too."""
    for ms in (0.3, 1.0, 12.5, 1_000.0, 86_400_000.0):
        assert bucket_keys([ms]).tolist() == [round(math.log(ms) * 50.5)]


@given(st.floats(1e-6, 1e12))
def test_a_bucket_is_within_one_percent(value: float) -> None:
    """The value that stands for a bucket is never further off than the stated error."""
    found = bucket_value(int(bucket_keys([value])[0]))
    assert abs(found / value - 1.0) <= RELATIVE_ERROR * (1 + 1e-9)
    assert RELATIVE_ERROR < 0.01


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_within_one_percent(share: float) -> None:
    """A quantile is within 1 % of the sample's own."""
    rows = np.random.default_rng(1).lognormal(5.0, 1.0, size=5_000)
    exact = float(np.quantile(rows, share, method="inverted_cdf"))
    assert quantile(bucket_counts(rows), share).value == pytest.approx(exact, rel=0.01)


def test_workers_merge_to_the_whole() -> None:
    """Merged buckets of shards are the buckets of all rows; percentiles are never averaged."""
    rows = np.random.default_rng(2).exponential(80.0, size=999)
    shards = [bucket_counts(rows[:100]), bucket_counts(rows[100:]), {}]
    assert merge_buckets(shards) == bucket_counts(rows)


def test_interval_covers_the_population() -> None:
    """The interval holds the true p90 of an exponential in at least 92 % of the samples."""
    generator = np.random.default_rng(3)
    truth, held = 100.0 * math.log(10.0), 0
    for _ in range(300):
        inside = quantile(bucket_counts(generator.exponential(100.0, size=400)), 0.9).interval
        held += inside.low * 0.99 <= truth <= inside.high * 1.01
    assert held >= 276


def test_zero_is_the_smallest_bucket() -> None:
    """A latency of zero is a row like any other."""
    assert quantile(bucket_counts([0.0, 0.0, 5.0]), 0.5).value == pytest.approx(1e-6, rel=0.01)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_what_has_no_bucket_is_refused(bad: float) -> None:
    """Negative, missing and infinite values are errors."""
    with pytest.raises(InvalidInput):
        bucket_keys([bad])


def test_no_rows_are_not_enough_samples() -> None:
    """A percentile of nothing does not exist."""
    with pytest.raises(NotEnoughSamples):
        quantile({}, 0.5)


def test_percent_instead_of_share_is_refused() -> None:
    """A share is 0..1; the message says how p99 is written."""
    with pytest.raises(InvalidInput, match=r"0\.99"):
        quantile({1: 1}, 99.0)


def test_negative_rows_are_refused() -> None:
    """Roll-ups hold counts."""
    with pytest.raises(InvalidInput, match="counts"):
        quantile({1: -1}, 0.5)
