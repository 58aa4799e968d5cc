"""Episodes as Alertmanager takes them: the body of `POST /api/v2/alerts`."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from monitors.windows import SECOND_US, from_us
from storage.records import Alert

PATH = "/api/v2/alerts"
REPEAT_S = 120.0
"""Time between two posts of an open episode."""
EXPIRY_S = 3 * REPEAT_S
"""Alertmanager ends an alert that it has not heard of for so long: ours, not its own setting."""
_EPISODE = "episode"
_TOP = 5


def alerts_url(base: str) -> str:
    """Return the endpoint of an Alertmanager by its base URL."""
    return base.rstrip("/") + PATH


def alert_of(alert: Alert) -> dict[str, Any]:
    """Return one alert: labels name the episode's kind and place, annotations say the rest.

    The labels are the alert's identity there, so they hold nothing that changes but severity,
    which receivers are chosen by; `event_body` ends the lesser one when it rises.
    """
    shown: dict[str, Any] = {
        "labels": {
            "alertname": f"Driftgate{alert.kind.title()}",
            "source": "driftgate",
            "monitor": alert.subject,
            "route": alert.route,
            "severity": alert.severity,
        },
        "annotations": {
            "summary": alert.summary,
            "features": _features(alert.data),
            _EPISODE: alert.id,
        },
        "startsAt": from_us(alert.opened_at),
    }
    if alert.resolved_at is not None:
        shown["endsAt"] = from_us(alert.resolved_at)
    return shown


def event_body(alert: Alert, was: Alert | None) -> bytes:
    """Return the body of an event: the alert after it, and its lesser severity's end."""
    entries = [alert_of(alert)]
    if was is not None and was.severity != alert.severity:
        ended = msgspec.structs.replace(was, resolved_at=alert.updated_at)
        entries.insert(0, alert_of(ended))
    return msgspec.json.encode(entries)


def open_body(alerts: Iterable[Alert]) -> bytes:
    """Return the body that keeps open episodes open."""
    return msgspec.json.encode([alert_of(alert) for alert in alerts])


def expiring(body: bytes, now_us: int) -> bytes:
    """Return a body as it is sent now: what fires ends by itself unless it is posted again."""
    entries: list[dict[str, Any]] = msgspec.json.decode(body)
    ends_at = from_us(now_us + round(EXPIRY_S * SECOND_US))
    return msgspec.json.encode([{"endsAt": ends_at, **entry} for entry in entries])


def _features(data: dict[str, object]) -> str:
    features = data.get("features")
    chosen: Sequence[Any] = features[:_TOP] if isinstance(features, list) else ()
    return ", ".join(str(f["feature"]) for f in chosen if isinstance(f, dict) and "feature" in f)
