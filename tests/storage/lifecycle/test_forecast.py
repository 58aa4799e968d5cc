"""How large it gets, and when the disk is full."""

import pytest

from storage.lifecycle.forecast import Kind, forecast, size_after

FACTS = Kind("facts", bytes=100, bytes_per_day=10.0, age_days=10.0, kept_days=30.0)


@pytest.mark.parametrize(
    ("days", "size"), [(0, 100), (5, 150), (20, 300), (25, 300), (30, 300), (300, 300)]
)
def test_a_kind_grows_to_what_is_kept(days: int, size: int) -> None:
    """Ten a day for thirty days is three hundred, and stays so."""
    assert size_after(FACTS, days) == pytest.approx(size)


def test_a_kind_shrinks_when_less_comes() -> None:
    """What there was expires, whatever comes."""
    kind = Kind("text", bytes=3000, bytes_per_day=0.0, age_days=30.0, kept_days=30.0)
    assert size_after(kind, 15) == pytest.approx(1500)
    assert size_after(kind, 30) == 0


def test_a_disk_that_suffices_is_never_full() -> None:
    """The steady state is named, and when it is reached."""
    found = forecast([FACTS], free_bytes=1000)
    assert found.full_in_days is None
    assert found.steady_bytes == 300
    assert found.steady_in_days == 20


def test_a_disk_that_does_not_suffice_is_full_one_day() -> None:
    """Fifty bytes are filled in five days, and overrun on the sixth."""
    assert forecast([FACTS], free_bytes=50).full_in_days == 6


def test_a_limit_holds_in_the_forecast() -> None:
    """A kind's limit and the limit of all bound what comes."""
    bounded = Kind("text", 100, 10.0, 10.0, 30.0, limit_bytes=120)
    assert forecast([bounded], free_bytes=1000).steady_bytes == 120
    assert forecast([FACTS, FACTS], free_bytes=1, total_limit_bytes=200).full_in_days is None


def test_nothing_recorded_is_no_growth() -> None:
    """An empty directory stays empty."""
    found = forecast([], free_bytes=1)
    assert (found.steady_bytes, found.full_in_days) == (0, None)
