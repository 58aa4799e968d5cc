"""Notifications as PagerDuty's Events API v2 takes them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from monitors.alerts.payload import event_of

_SUMMARY_CHARS = 1_024


def pagerduty_body(document: Mapping[str, Any], routing_key: str) -> bytes:
    """Return the JSON of an event: an episode is one incident, by its alert's id.

    References
    ----------
    PagerDuty, "Events API v2": `trigger` and `resolve` by `dedup_key`; `payload.severity` is one of
    `critical`, `error`, `warning`, `info`.
    """
    data = document["data"]
    _, word = event_of(document["type"])
    event = {
        "routing_key": routing_key,
        "event_action": "resolve" if word == "resolved" else "trigger",
        "dedup_key": data["alert_id"],
        "client": "driftgate",
        "payload": {
            "summary": str(data["summary"])[:_SUMMARY_CHARS],
            "source": "driftgate",
            "severity": "info" if word == "test" else data["severity"],
            "timestamp": document["timestamp"],
            "component": data["route"],
            "class": document["type"],
            "custom_details": data,
        },
    }
    return msgspec.json.encode(event)
