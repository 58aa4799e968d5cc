"""Points in time as people write them: `7d`, `1h30m`, `2026-11-01`, `today`, `yesterday`."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from router.duration_text import parse_duration_s

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_EPOCH = datetime.fromtimestamp(0, UTC)
_LOOKS_LIKE_A_DATE = re.compile(r"\d{4}-?\d{2}")


class TimeRefused(ValueError):
    """The text is no point in time, or one that an interval cannot have."""


class Interval(NamedTuple):
    """Microseconds since the epoch: [from_us, to_us)."""

    from_us: int
    to_us: int

    def __str__(self) -> str:
        return f"{iso(self.from_us)} to {iso(self.to_us)} (UTC)"


def parse_since(text: str, now_us: int) -> int:
    """Return the microseconds since the epoch at which an interval starts.

    Parameters
    ----------
    text : str
        A duration before now (`90m`, `1h30m`, `7d`, `2w`), an ISO 8601 date or time (UTC where it
        names no zone; a date is its first instant), `today` or `yesterday` (of UTC).
    now_us : int
        Microseconds since the epoch.

    Raises
    ------
    TimeRefused
        It cannot be read, or lies in the future.
    """
    at = _parse(text.strip(), now_us)
    if at > now_us:
        raise TimeRefused(f"`{text}` ({iso(at)}) lies in the future; it is {iso(now_us)}")
    if at < 0:
        raise TimeRefused(f"`{text}` lies before 1970")
    return at


def parse_until(text: str, now_us: int) -> int:
    """Return the microseconds since the epoch before which an interval ends; see `parse_since`."""
    return parse_since(text, now_us)


def parse_interval(since: str, until: str | None, now_us: int) -> Interval:
    """Return the interval between two texts; without `until` it ends now.

    Raises
    ------
    TimeRefused
        A text cannot be read or lies in the future, or the interval holds no time.
    """
    start = parse_since(since, now_us)
    end = now_us if until is None else parse_until(until, now_us)
    if start >= end:
        shown = "now" if until is None else f"`{until}` ({iso(end)})"
        raise TimeRefused(f"`{since}` ({iso(start)}) does not lie before {shown}")
    return Interval(start, end)


def iso(at_us: int) -> str:
    """Return ISO 8601 in UTC, with a fraction only where there is one."""
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat().replace("+00:00", "Z")


def _parse(text: str, now_us: int) -> int:
    midnight = now_us // _DAY_US * _DAY_US
    if text in {"now", "today", "yesterday"}:
        return {"now": now_us, "today": midnight, "yesterday": midnight - _DAY_US}[text]
    if _LOOKS_LIKE_A_DATE.match(text):
        return _parse_iso(text)
    try:
        return now_us - round(parse_duration_s(text) * _SECOND_US)
    except (ValueError, OverflowError) as error:
        raise TimeRefused(
            f"`{text}` is no time; write a duration such as `90m`, `1h30m`, `7d`, an ISO 8601 date"
            " or time, `today` or `yesterday`"
        ) from error


def _parse_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise TimeRefused(
            f"`{text}` is no ISO 8601 time ({error}); write such as `2026-11-01T08:00Z`"
        ) from error
