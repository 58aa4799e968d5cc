"""The body of a webhook: `{type, timestamp, data}`, cut to what receivers take."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from monitors.windows import from_us
from storage.records import Alert

VERSION = 1
MAX_BYTES = 20_000
"""Standard Webhooks advises less than 20 KB."""
_TEXT_CHARS = 200
_SUMMARY_CHARS = 1_000
DIGEST = "alerts.digest"
"""Event of one message about several alerts."""
DIGEST_ALERTS = 20
REMINDED = "reminded"
"""Word of an event that tells once more of an episode that is still open."""
_DIGEST_SUMMARY_CHARS = 300
_DIGEST_KEYS = ("alert_id", "route", "state", "severity", "summary", "opened_at", "resolved_at")
_CONTRIBUTIONS = (10, 3, 0)
_FEATURES = (5, 2, 1, 0)


def event_of(event: str) -> tuple[str, str]:
    """Return kind and word of an event's name, such as `drift` and `opened`."""
    kind, _, word = event.rpartition(".")
    return kind, word


def webhook_body(event: str, alert: Alert, at_us: int) -> bytes:
    """Return the JSON of an event about an episode, less than 20 KB.

    Parameters
    ----------
    event : str
        `drift.opened`, `drift.escalated`, `drift.resolved`, `drift.reminded`.
    alert : Alert
        The episode after the event; `alert_id` is the same in all its events.
    at_us : int
        Microseconds since the epoch of the event.
    """
    resolved_at = alert.resolved_at
    data = {
        **alert.data,
        "version": VERSION,
        "alert_id": alert.id,
        "route": alert.route,
        "state": alert.state,
        "severity": alert.severity,
        "summary": alert.summary,
        "opened_at": from_us(alert.opened_at),
        "resolved_at": None if resolved_at is None else from_us(resolved_at),
    }
    return fitted({"type": event, "timestamp": from_us(at_us), "data": data})


def digest_body(bodies: Sequence[bytes], at_us: int) -> bytes:
    """Return the JSON of one message about several alerts, less than 20 KB.

    Parameters
    ----------
    bodies : sequence of bytes
        What `webhook_body` made of each, at most `DIGEST_ALERTS`, the oldest first.
    at_us : int
        Microseconds since the epoch of the message.
    """
    entries = [_entry(msgspec.json.decode(body)) for body in bodies]
    data = {
        "version": VERSION,
        "alert_id": entries[0]["alert_id"],
        "severity": max(entries, key=lambda one: one["severity"] == "critical")["severity"],
        "summary": f"{len(entries)} alerts",
        "alerts": entries,
    }
    return msgspec.json.encode({"type": DIGEST, "timestamp": from_us(at_us), "data": data})


def _entry(document: dict[str, Any]) -> dict[str, Any]:
    data = document["data"]
    kept = {key: data[key] for key in _DIGEST_KEYS if key in data}
    return {"type": document["type"], **kept, "summary": _bounded(str(data["summary"]))}


def _bounded(text: str) -> str:
    # Bytes, not characters: 20 summaries must fit whatever their script.
    encoded = msgspec.json.encode(text[:_DIGEST_SUMMARY_CHARS])
    share = min(1.0, _DIGEST_SUMMARY_CHARS / len(encoded))
    return text[: int(_DIGEST_SUMMARY_CHARS * share)]


def alerts_in(event: str, body: bytes) -> tuple[str, ...]:
    """Return the ids of the alerts that a digest's body is about; of other events, none."""
    if event != DIGEST:
        return ()
    return tuple(one["alert_id"] for one in msgspec.json.decode(body)["data"]["alerts"])


def fitted(document: dict[str, Any]) -> bytes:
    """Return a document's JSON; lists of contributions and features, then texts, are cut to fit.

    What was cut says so: `data.truncated` is true.
    """
    body = msgspec.json.encode(document)
    for cut in _cuts():
        if len(body) < MAX_BYTES:
            break
        document = {**document, "data": {**cut(document["data"]), "truncated": True}}
        body = msgspec.json.encode(document)
    return body


Cut = Callable[[dict[str, Any]], dict[str, Any]]


def _cuts() -> Iterator[Cut]:
    for kept in _CONTRIBUTIONS:
        yield partial(_fewer_contributions, kept)
    yield _short_texts
    for kept in _FEATURES:
        yield partial(_fewer_features, kept)
    yield _core


def _features(data: dict[str, Any]) -> list[Any]:
    features = data.get("features")
    return features if isinstance(features, list) else []


def _fewer_features(kept: int, data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "features": _features(data)[:kept]}


def _fewer_contributions(kept: int, data: dict[str, Any]) -> dict[str, Any]:
    features = [
        {**f, "contributions": f["contributions"][:kept]} if _has_contributions(f) else f
        for f in _features(data)
    ]
    return {**data, "features": features}


def _has_contributions(feature: Any) -> bool:
    return isinstance(feature, dict) and isinstance(feature.get("contributions"), list)


def _short_texts(data: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value[:_SUMMARY_CHARS] if key == "summary" else _short(value)
        for key, value in data.items()
    }


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_TEXT_CHARS]
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list) else value


def _core(data: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies the episode, whatever else a monitor put beside it."""
    kept = ("version", "alert_id", "route", "state", "severity", "summary", "opened_at")
    return {key: data[key] for key in (*kept, "resolved_at") if key in data}
