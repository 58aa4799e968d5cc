"""Last verdicts: of what is compared no more."""

import msgspec

from monitors.windows import Window
from storage.records import Verdict

ENDED = "ended"
"""In a verdict's details: why nothing of its stream stays open, part of a sentence for people."""


def ended(last: Verdict, window: Window, why: str) -> Verdict:
    """Return the last verdict of what is compared no more, so that nothing of it stays open.

    Parameters
    ----------
    last : Verdict
        The feature's newest one.
    window : Window
        Its end is the time of the verdict.
    why : str
        Part of a sentence, for people; stands in `details["ended"]`.
    """
    # The end of an episode that routes share is told where it was opened.
    shared = {"shared": True} if last.details.get("shared") is True else {}
    return msgspec.structs.replace(
        last,
        id=verdict_id(last.monitor, last.route, (last.segment, last.feature), window.to_us),
        at=window.to_us,
        verdict="stale",
        severity="none",
        value=None,
        low=None,
        high=None,
        threshold=None,
        n_current=0,
        window_from=window.from_us,
        window_to=window.to_us,
        details={"open": False, "calm_looks": 0, ENDED: why, **shared},
    )


def has_ended(verdict: Verdict) -> bool:
    """Say whether `ended` made a verdict."""
    return ENDED in verdict.details


def verdict_id(monitor: str, route: str, stream: tuple[str, str], at_us: int) -> str:
    """Return the id of a look at a stream (segment, feature).

    The same look at the same rows has the same id, so that a repeated run is seen as one.
    """
    segment, feature = stream
    named = f"{segment}:{feature}" if segment else feature
    return f"{monitor}:{route}:{named}:{at_us}"
