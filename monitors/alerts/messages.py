"""Notifications as people read them: one title, one line an alert, a fact or a feature."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from monitors.alerts.payload import DIGEST, REMINDED, event_of

Tone = Literal["info", "success", "warning", "failure"]

_TITLE_CHARS = 140
_LINE_CHARS = 300
_FEATURES = 5


class Message(NamedTuple):
    """A notification in words.

    Attributes
    ----------
    title : str
        Severity, what happened, where.
    lines : tuple of str
        Plain text, the summary first.
    tone : str
        `success` is the end of an episode, `failure` a critical alert.
    note : str
        When it happened, the id by which `monitor alerts list` knows it, and the message's own:
        a message that is shown twice has it twice.
    """

    title: str
    lines: tuple[str, ...]
    tone: Tone
    note: str


def message_of(document: Mapping[str, Any], message_id: str) -> Message:
    """Return the words of a notification's document, as `payload` makes them."""
    data = document["data"]
    if document["type"] == DIGEST:
        alerts = data["alerts"]
        title = f"{len(alerts)} alerts"
        lines = tuple(_cut(f"{_headline(one['type'], one)}: {one['summary']}") for one in alerts)
    else:
        title = _headline(document["type"], data)
        lines = (_cut(str(data["summary"])), *_changed(data), *_features(data.get("features")))
    note = f"{document['timestamp']}, alert {data['alert_id']}, message {message_id}"
    return Message(title[:_TITLE_CHARS], lines, _tone(document["type"], data), note)


def _headline(event: str, data: Mapping[str, Any]) -> str:
    kind, word = event_of(event)
    label = "resolved" if word == "resolved" else data["severity"]
    route = "" if data["route"] == "*" else f" on route {data['route']}"
    return f"[{label}] {kind} {'still open' if word == REMINDED else word}{route}"


def _tone(event: str, data: Mapping[str, Any]) -> Tone:
    _, word = event_of(event)
    if word in {"resolved", "test"}:
        return "success" if word == "resolved" else "info"
    return "failure" if data["severity"] == "critical" else "warning"


def _changed(data: Mapping[str, Any]) -> list[str]:
    changed = data.get("changed")
    return [_cut(f"at the same time: {fact}") for fact in changed] if changed else []


def _features(features: object) -> list[str]:
    chosen: Sequence[Any] = features[:_FEATURES] if isinstance(features, list) else ()
    return [_feature(one) for one in chosen if isinstance(one, dict) and "feature" in one]


def _feature(feature: Mapping[str, Any]) -> str:
    segment = f" ({feature['segment']})" if feature.get("segment") else ""
    since = f", since {feature['onset_at']}" if feature.get("onset_at") else ""
    value, low, high = (_number(feature.get(name)) for name in ("value", "low", "high"))
    interval = f" [{low}, {high}]" if low and high else ""
    effect = f" {feature.get('statistic', 'effect')} {value}{interval}" if value else ""
    rows = f", n = {feature['n_current']}" if feature.get("n_current") is not None else ""
    cause = f": {feature['cause']}" if feature.get("cause") else ""
    return _cut(f"{feature['feature']}{segment}{effect}{rows}{since}{cause}")


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…"
