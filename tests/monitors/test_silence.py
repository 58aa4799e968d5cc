from collections.abc import Sequence

import msgspec
import pytest
from support.alert_kit import verdict

from monitors.silence import SEEN_AT, Patience, given_up, seen_at

HOUR_US = 3_600_000_000
PATIENCE = Patience(windows=3, window_s=3_600.0)


def ends_at(hours: Sequence[int]) -> int | None:
    """Look at these hours, always blindly, at an episode of hour 1,000; return when it ends."""
    last = msgspec.structs.replace(verdict("drift"), at=1_000 * HOUR_US)
    for hour in hours:
        at = hour * HOUR_US
        if given_up(last, at, PATIENCE):
            return hour
        last = msgspec.structs.replace(last, at=at, details={SEEN_AT: seen_at(last, at, PATIENCE)})
    return None


@pytest.mark.parametrize(
    ("hours", "ends"),
    [
        (range(1_001, 1_100), 1_024),
        # Nobody looked for two days: what was not waited for is not given up.
        (range(1_050, 1_100), 1_074),
        # The clock was set back from a year ahead.
        (range(500, 600), 524),
    ],
)
def test_an_episode_is_waited_for_a_day(hours: Sequence[int], ends: int) -> None:
    """As long as somebody looks, by the clock that there is."""
    assert ends_at(hours) == ends
