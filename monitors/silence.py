"""When an episode ends though nothing is known: too few rows for so long that nobody waits for it.

Silence is no recovery, so that a night, or a weekend of labels, ends nothing. But what stopped for
good would stay open for ever: after `Patience` its episode is resolved, and the last verdict and
the alert say that it was for want of data, not because anything got better. Rows that come later
are judged like any others, and an episode that still is one opens again.
"""

from collections.abc import Sequence
from typing import NamedTuple

from monitors.endings import ENDED
from monitors.windows import SECOND_US, from_us
from storage.records import Verdict

NO_DATA = "no data"
"""What reasons of such an end begin with."""
SEEN_AT = "seen_at"
"""In the details of a verdict that knew nothing: when one did for the last time, microseconds."""
DAY_S = 86_400.0
_NAMED = 3


class Patience(NamedTuple):
    """How long an open episode waits for rows, in seconds: so many windows, at least `least_s`."""

    windows: int
    window_s: float
    least_s: float = DAY_S

    @property
    def us(self) -> int:
        """Microseconds."""
        return round(max(self.windows * self.window_s, self.least_s) * SECOND_US)


def seen_at(last: Verdict, at_us: int, patience: Patience) -> int:
    """Return when a stream had rows enough for the last time, as its newest verdict knows it.

    Where nobody looked for as long as one waits, as before a restart, it is waited for from now on.
    """
    if at_us - last.at >= patience.us:
        return at_us
    known = last.details.get(SEEN_AT)
    # Not later than the verdict, where the clock was set back: nothing would end for as long.
    return min(known, last.at) if isinstance(known, int) else last.at


def given_up(last: Verdict, at_us: int, patience: Patience) -> str:
    """Return why an episode that has too few rows at `at_us` ends; empty while it is waited for."""
    since = seen_at(last, at_us, patience)
    if at_us - since < patience.us:
        return ""
    return f"{NO_DATA}: too few rows to say anything since {from_us(since)}"


def is_no_data(verdict: Verdict) -> bool:
    """Say whether an episode ended for want of data."""
    return str(verdict.details.get(ENDED, "")).startswith(NO_DATA)


def unrecovered(monitor: str, route: str, verdicts: Sequence[Verdict]) -> str:
    """Return what an alert says when streams of it ended so; empty where none of them did."""
    gone = [verdict for verdict in verdicts if is_no_data(verdict)]
    if not gone:
        return ""
    names = [f"`{v.feature}`" + (f" of {v.segment}" if v.segment else "") for v in gone[:_NAMED]]
    more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
    where = "several routes" if route == "*" else f"route `{route}`"
    return (
        f"{monitor} on {where} ended, but no recovery was seen; {', '.join(names)}{more}:"
        f" {gone[0].details[ENDED]}"
    )
