"""The `Retry-After` header (RFC 9110 §10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_S = 86_400.0


def retry_after_s(value: bytes, *, now: datetime | None = None) -> float | None:
    """Return the seconds asked for, at most a day; None when absent or not understood.

    A date needs `now`; without it a date counts as not understood.
    """
    text = value.decode("latin-1").strip()
    if text.isdigit() and text.isascii():
        return min(float(text), MAX_S) if len(text) < 12 else MAX_S
    if not text or now is None:
        return None
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_S)
