"""One episode, one alert: a change opens it, updates it, makes it worse or ends it."""

from typing import NamedTuple

import msgspec

from monitors.episodes import Change
from storage.records import Alert

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
    """Apply a change to the open alert of its key.

    Opening what is open updates it, or escalates it when it got worse; resolving what is not open
    does nothing. Severity never falls within an episode.

    Parameters
    ----------
    was : Alert or None
        The open alert of the change's key.
    alert_id : str
        Id of the alert if the change opens one.
    """
    kind, _, event = change.kind.rpartition(".")
    if event == "resolved":
        return None if was is None else _resolved(change, was, now_us)
    if was is None:
        alert = Alert(
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
        return Step(alert, f"{kind}.opened", None)
    worse = was.severity == "warning" and change.severity == "critical"
    alert = msgspec.structs.replace(
        was,
        severity="critical" if worse else was.severity,
        updated_at=now_us,
        summary=change.summary,
        data=change.data,
    )
    return Step(alert, f"{kind}.escalated" if worse else None, was)


def _resolved(change: Change, was: Alert, now_us: int) -> Step:
    alert = msgspec.structs.replace(
        was,
        state="resolved",
        updated_at=now_us,
        resolved_at=now_us,
        summary=change.summary,
        data=change.data,
    )
    return Step(alert, f"{was.kind}.resolved", was)
