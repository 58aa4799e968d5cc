"""Microseconds since the epoch, as records carry them, and the database's TIMESTAMP."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


def to_timestamp(at_us: int) -> datetime:
    """Return the naive UTC datetime that a TIMESTAMP column takes."""
    return _EPOCH + timedelta(microseconds=at_us)


def from_timestamp(value: datetime) -> int:
    """Return microseconds since the epoch of a TIMESTAMP that was read."""
    return (value - _EPOCH) // _MICROSECOND
