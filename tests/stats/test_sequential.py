import math

import numpy as np
import pytest

from stats.errors import InvalidInput, NotEnoughSamples
from stats.sequences import Moments, mean_difference, share_difference
from stats.sequential import means_e_value, shares_e_value, split_e_value


@pytest.mark.parametrize("now", [40, 60, 75, 76, 77, 78, 79, 80, 81, 82, 90, 300])
def test_shares_agree_with_their_sequence(now: int) -> None:
    """The e-value reaches 20 exactly when the 95 % sequence leaves zero out."""
    inside = share_difference(50, 1000, now, 1000).interval
    assert (shares_e_value(50, 1000, now, 1000) >= 20.0) == (not inside.low <= 0.0 <= inside.high)


@pytest.mark.parametrize("now", [10.0, 10.2, 10.26, 10.27, 10.28, 10.3, 12.0])
def test_means_agree_with_their_sequence(now: float) -> None:
    """The e-value reaches 20 exactly when the 95 % sequence leaves zero out."""
    before, after = Moments(1000, 10.0, 4.0), Moments(1000, now, 4.0)
    inside = mean_difference(before, after).interval
    assert (means_e_value(before, after) >= 20.0) == (not inside.low <= 0.0 <= inside.high)


def test_peeking_at_every_row_keeps_the_level_of_shares() -> None:
    """A thousand looks at equal arms reach 20 in at most 5 % of the runs."""
    hits = np.cumsum(np.random.default_rng(1).random((60, 2, 1000)) < 0.3, axis=2)
    wrong = 0
    for before, now in hits.tolist():
        wrong += any(
            shares_e_value(before[n - 1], n, now[n - 1], n) >= 20.0 for n in range(1, 1001, 4)
        )
    assert wrong <= 3


def test_a_planned_split_is_no_mismatch() -> None:
    """Looked at every 50 rows, a sound 90:10 split reaches 20 in at most 5 % of the runs."""
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(200):
        rows = np.cumsum(generator.multinomial(50, [0.9, 0.1], size=60), axis=0).tolist()
        wrong += any(split_e_value(counts, [9, 1]) >= 20.0 for counts in rows)
    assert wrong <= 10


def test_a_lost_tenth_of_an_arm_is_found() -> None:
    """A canary that loses every tenth request is seen within 20,000."""
    assert split_e_value([18_000, 1_800], [0.9, 0.1]) > 20.0
    assert split_e_value([18_000, 2_000], [0.9, 0.1]) < 1.0
    assert split_e_value([0, 0], [0.5, 0.5]) == 1.0


def test_evidence_stays_finite() -> None:
    """A million rows apart do not overflow; only two constants prove without end."""
    assert math.isfinite(shares_e_value(0, 10**6, 10**6, 10**6))
    assert means_e_value(Moments(50, 1.0, 0.0), Moments(50, 2.0, 0.0)) == math.inf
    assert means_e_value(Moments(50, 1.0, 0.0), Moments(50, 1.0, 0.0)) == 1.0


def test_too_few_rows_are_an_answer_of_their_own() -> None:
    """Neither one nor infinity."""
    with pytest.raises(NotEnoughSamples):
        means_e_value(Moments(50, 1.0, 1.0), Moments(2, 1.0, 1.0))
    with pytest.raises(NotEnoughSamples, match="current window"):
        shares_e_value(1, 2, 0, 0)


@pytest.mark.parametrize(
    ("rows", "planned"), [([1, 2], [1.0]), ([1, 2], [1.0, 0.0]), ([1, -2], [1.0, 1.0]), ([1], [1])]
)
def test_impossible_splits_are_refused(rows: list[int], planned: list[float]) -> None:
    """Arms without a plan, plans of nothing, fewer rows than none, a single arm."""
    with pytest.raises(InvalidInput):
        split_e_value(rows, planned)


def test_more_hits_than_rows_are_refused() -> None:
    """They are no share."""
    with pytest.raises(InvalidInput):
        shares_e_value(3, 2, 1, 2)
