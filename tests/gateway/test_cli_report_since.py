import pytest

from gateway.cli.since import TimeRefused, iso, parse_interval, parse_since

NOW = 1_795_003_200_000_000  # 2026-11-18T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", "2026-11-11T12:00:00Z"),
        ("90m", "2026-11-18T10:30:00Z"),
        ("1h30m", "2026-11-18T10:30:00Z"),
        ("2w", "2026-11-04T12:00:00Z"),
        ("today", "2026-11-18T00:00:00Z"),
        ("yesterday", "2026-11-17T00:00:00Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T08:30", "2026-11-01T08:30:00Z"),
        ("2026-11-01T08:30:00+02:00", "2026-11-01T06:30:00Z"),
        ("20261101", "2026-11-01T00:00:00Z"),
        ("2026-11-01T00:00:00.5Z", "2026-11-01T00:00:00.500000Z"),
    ],
)
def test_times_are_read(text: str, expected: str) -> None:
    """Durations count back from now; no zone is UTC; a date is its first instant."""
    assert iso(NOW) == "2026-11-18T12:00:00Z"
    assert iso(parse_since(text, NOW)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "7", "seven days", "-1h", "1d foo", "2026-13-01", "2026-11-31", "9e9w", "9" * 400 + "w"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message says what may be written."""
    with pytest.raises(TimeRefused, match="write"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["2026-11-19", "2100-01-01T00:00:00Z"])
def test_the_future_is_refused(text: str) -> None:
    """The message names the time meant and the time it is."""
    with pytest.raises(TimeRefused, match=r"lies in the future; it is 2026-11-18T12:00:00Z"):
        parse_since(text, NOW)


def test_times_before_the_epoch_are_refused() -> None:
    """Records cannot be that old."""
    with pytest.raises(TimeRefused, match="before 1970"):
        parse_since("9999w", NOW)


def test_an_interval_ends_now() -> None:
    """Without an end it is now; the text names both in UTC."""
    interval = parse_interval("1d", None, NOW)
    assert str(interval) == "2026-11-17T12:00:00Z to 2026-11-18T12:00:00Z (UTC)"


@pytest.mark.parametrize(("since", "until"), [("1d", "2d"), ("today", "today"), ("now", None)])
def test_an_interval_holds_time(since: str, until: str | None) -> None:
    """Its start lies before its end."""
    with pytest.raises(TimeRefused, match="does not lie before"):
        parse_interval(since, until, NOW)
