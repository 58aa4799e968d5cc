from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retry_after import MAX_S, retry_after_s

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"7", 7.0),
        (b" 7 ", 7.0),
        (b"86400", MAX_S),
        (b"1000000000", MAX_S),
        (b"9" * 400, MAX_S),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"1 second", None),
        ("²".encode("latin-1"), None),
        (b"Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        (b"Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        (b"Fri, 20 Nov 2099 12:00:00 GMT", MAX_S),
        (b"Fri, 20 Nov 2026 13:00:00 +0100", 0.0),
        (b"Fri, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_value_is_read(value: bytes, seconds: float | None) -> None:
    """Seconds and dates are read, bounded to a day; what is neither is not understood."""
    assert retry_after_s(value, now=NOW) == seconds


def test_date_without_a_clock_is_not_understood() -> None:
    """A date means nothing to a caller that has no time."""
    assert retry_after_s(b"Fri, 20 Nov 2026 12:00:30 GMT") is None


@given(st.binary(max_size=60))
def test_any_value_is_bounded(value: bytes) -> None:
    """Whatever an upstream sends, the answer is None or within a day."""
    found = retry_after_s(value, now=NOW)
    assert found is None or 0.0 <= found <= MAX_S


@given(st.integers(0, 86_400))
def test_date_is_its_distance(seconds: int) -> None:
    """A date so many seconds ahead asks for those seconds."""
    at = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_s(at.encode(), now=NOW) == seconds
