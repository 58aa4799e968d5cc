"""A webhook's message in a few lines."""

from collections.abc import Iterator, Mapping
from typing import Any

_MOST_FEATURES = 4


def alert_lines(event: Mapping[str, Any]) -> Iterator[str]:
    """Return what a received event says: its type, its summary, the features that moved."""
    data = event["data"]
    yield f"{event['type']}   {data['severity']}   route `{data['route']}`   {event['timestamp']}"
    yield data["summary"]
    for feature in data.get("features", [])[:_MOST_FEATURES]:
        yield _feature_line(feature)


def _feature_line(feature: Mapping[str, Any]) -> str:
    sizes = f"n = {feature['n_reference']} then, {feature['n_current']} now"
    effect = f"{feature['statistic']} {feature['value']:.2f}"
    return f"{feature['feature']}: {effect} ({sizes}): {feature.get('cause', '')}"
