"""Silences: which alerts nobody wants to hear of for a while."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from monitors.alerts.config import ALERT_KINDS
from monitors.episodes import TOP_FEATURES
from monitors.errors import SilenceRefused
from storage.monitor_records import Silence
from storage.records import Alert

MATCHERS = ("route", "kind", "subject", "severity", "segment", "feature")
"""What a silence can name; patterns as in a shell, `*` and `?`."""
_CLOSED = {"kind": ALERT_KINDS, "severity": ("warning", "critical")}
"""Of these the words are known: a pattern that fits none would silence nothing."""
LONGEST_S = 400 * 86_400.0
_TEXT_CHARS = 500
_WITHIN = ("segment", "feature")


def check_silence(silence: Silence) -> Silence:
    """Return a silence if it is one.

    Raises
    ------
    SilenceRefused
        It names nothing, an unknown thing or word, or an empty pattern, holds no time or more than
        400 days, or its texts are longer than 500 characters.
    """
    unknown = sorted(silence.matchers.keys() - set(MATCHERS))
    if unknown:
        raise SilenceRefused(f"`{unknown[0]}` cannot be matched; name one of {_known()}")
    if not silence.matchers:
        raise SilenceRefused(f"a silence names at least one of {_known()}; `*` matches all")
    texts = (silence.author, silence.comment, *silence.matchers.values())
    if not all(silence.matchers.values()) or any(len(str(t)) > _TEXT_CHARS for t in texts):
        raise SilenceRefused(f"patterns have 1 to {_TEXT_CHARS} characters, texts at most as many")
    for name, words in _CLOSED.items():
        pattern = silence.matchers.get(name)
        if pattern is not None and not any(fnmatchcase(word, str(pattern)) for word in words):
            raise SilenceRefused(f"`{pattern}` fits no {name}; there are {', '.join(words)}")
    if not 0 < silence.ends_at - silence.starts_at <= LONGEST_S * 1_000_000:
        raise SilenceRefused("a silence ends after its start, and lasts 400 days at most")
    return silence


def _known() -> str:
    return ", ".join(f"`{name}`" for name in MATCHERS)


def silence_of(alert: Alert, silences: Iterable[Silence], now_us: int) -> Silence | None:
    """Return the silence under which an alert is now, the last to end; None when there is none."""
    active = [s for s in silences if s.starts_at <= now_us < s.ends_at and matches(s, alert)]
    return max(active, key=lambda s: s.ends_at, default=None)


def matches(silence: Silence, alert: Alert) -> bool:
    """Say whether an alert is what a silence names: all its patterns fit.

    `segment` and `feature` fit when they fit each feature of the alert's digest together: an alert
    that is also about another feature, or about more than its digest shows, is not silenced. So
    `route` must fit each route of an alert about several.
    """
    patterns = {name: str(pattern) for name, pattern in silence.matchers.items()}
    outer = {name: p for name, p in patterns.items() if name not in _WITHIN}
    if not all(fnmatchcase(text, p) for name, p in outer.items() for text in _texts(alert, name)):
        return False
    inner = {name: p for name, p in patterns.items() if name in _WITHIN}
    return not inner or _fits_features(alert.data, inner)


def _texts(alert: Alert, name: str) -> Sequence[str]:
    routes = alert.data.get("routes") if name == "route" else None
    return routes if isinstance(routes, list) and routes else [str(getattr(alert, name))]


def _fits_features(data: Mapping[str, Any], inner: Mapping[str, str]) -> bool:
    features = data.get("features")
    found = features if isinstance(features, list) and features else [data]
    shown = {(one.get("route"), one.get("feature")) for one in found if isinstance(one, dict)}
    if data.get("features_drifted", len(shown)) != len(shown):
        return False
    # A full digest shows every feature then, but perhaps not every segment of each.
    if "segment" in inner and len(found) >= TOP_FEATURES:
        return False
    return all(
        isinstance(one, dict)
        and all(fnmatchcase(str(one.get(name, "")), p) for name, p in inner.items())
        for one in found
    )


def ended(silence: Silence, now_us: int) -> Silence:
    """Return a silence that ends now; one that has ended, as it is."""
    if silence.ends_at <= now_us:
        return silence
    # One that has not begun would end before its start.
    return Silence(
        id=silence.id,
        created_at=silence.created_at,
        starts_at=min(silence.starts_at, now_us),
        ends_at=now_us,
        author=silence.author,
        comment=silence.comment,
        matchers=silence.matchers,
    )
