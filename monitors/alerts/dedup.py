"""One episode, one alert: a change opens it, updates it, makes it worse, ends it, revives it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from monitors.episodes import Change
from storage.records import Alert

REOPENS_S = 1_800.0
"""An episode that comes back within it goes on: the same alert, the same id."""
FLAP_DELAY_S = 600.0
LONGEST_FLAP_DELAY_S = 3_600.0
_REOPENED = "reopened"
_DRIFTED = "drifted"
_NAMED = 5

AlertKey = tuple[str, str, str]
"""(kind, route, subject): at most one alert of a key is open."""


class Step(NamedTuple):
    """What a change does.

    Attributes
    ----------
    alert : Alert
        The episode after it.
    event : str or None
        What receivers are told, such as `drift.opened`; None is an update they are spared.
    was : Alert or None
        The episode before it; None when this opens it.
    """

    alert: Alert
    event: str | None
    was: Alert | None


def key_of(alert: Alert) -> AlertKey:
    """Return what an open alert is found by."""
    return (alert.kind, alert.route, alert.subject)


def key_of_change(change: Change) -> AlertKey:
    """Return the key of the alert that a change is about."""
    return (change.kind.rpartition(".")[0], change.route, change.subject)


def step(change: Change, was: Alert | None, now_us: int, alert_id: str) -> Step | None:
    """Apply a change to the alert of its key.

    Opening what is open updates it, or escalates it when it got worse; opening what ended a short
    time ago opens it again under its id; resolving what is not open does nothing. Severity never
    falls within an episode. A feature or segment that drifts later than the others escalates it.

    Parameters
    ----------
    was : Alert or None
        The alert of the change's key, if one is open or ended within `REOPENS_S`.
    alert_id : str
        Id of the alert if the change opens one.
    """
    kind, _, event = change.kind.rpartition(".")
    if event == "resolved":
        return None if was is None or was.state == "resolved" else _resolved(change, was, now_us)
    if was is None:
        return Step(_opened(change, kind, now_us, alert_id), f"{kind}.opened", None)
    worse = was.severity == "warning" and change.severity == "critical"
    again = was.state == "resolved"
    joined = [] if again else _joined(change, was)
    alert = msgspec.structs.replace(
        was,
        state="open",
        severity="critical" if worse else was.severity,
        updated_at=now_us,
        resolved_at=None,
        summary=_with_joined(joined) + change.summary,
        data=_data(change, was, again=again) | ({"joined": joined} if joined else {}),
    )
    if worse or joined:
        return Step(alert, f"{kind}.escalated", was)
    return Step(alert, f"{kind}.opened" if again else None, was)


def reopenings(alert: Alert) -> int:
    """Return how often an episode ended and went on."""
    found = alert.data.get(_REOPENED, 0)
    return found if isinstance(found, int) else 0


def resolve_delay_s(alert: Alert) -> float:
    """Return how long the end of an episode waits before it is told: longer each time it flaps."""
    return min(reopenings(alert) * FLAP_DELAY_S, LONGEST_FLAP_DELAY_S)


def _opened(change: Change, kind: str, now_us: int, alert_id: str) -> Alert:
    return Alert(
        id=alert_id,
        kind=kind,
        route=change.route,
        subject=change.subject,
        state="open",
        severity=change.severity,
        opened_at=now_us,
        updated_at=now_us,
        resolved_at=None,
        summary=change.summary,
        data=change.data,
    )


def _resolved(change: Change, was: Alert, now_us: int) -> Step:
    alert = msgspec.structs.replace(
        was,
        state="resolved",
        updated_at=now_us,
        resolved_at=now_us,
        summary=change.summary,
        data=_data(change, was, again=False),
    )
    return Step(alert, f"{was.kind}.resolved", was)


def _data(change: Change, was: Alert, *, again: bool) -> dict[str, object]:
    times = reopenings(was) + again
    told: dict[str, object] = {_REOPENED: times} if times else {}
    # What ended and drifts once more within an episode is no news.
    known = [] if again else _streams(was.data)
    if known:
        told[_DRIFTED] = list(dict.fromkeys([*known, *_streams(change.data)]))
    return {**change.data, **told}


def _joined(change: Change, was: Alert) -> list[str]:
    """Return what drifts that the episode has not told of; alerts of older programs do not know."""
    if _DRIFTED not in was.data:
        return []
    known = set(_streams(was.data))
    return [name for name in _streams(change.data) if name not in known]


def _with_joined(joined: Sequence[str]) -> str:
    if not joined:
        return ""
    more = f" and {len(joined) - _NAMED} more" if len(joined) > _NAMED else ""
    return f"now also {', '.join(f'`{name}`' for name in joined[:_NAMED])}{more}; "


def _streams(data: Mapping[str, object]) -> list[str]:
    found = data.get(_DRIFTED)
    return [str(name) for name in found] if isinstance(found, list) else []
