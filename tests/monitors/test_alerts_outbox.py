import msgspec
import pytest

from monitors.alerts import outbox
from monitors.alerts.outbox import SCHEDULE_S, Result, after_try, batches, due_in_s, next_try_at
from storage.records import Delivery

SECOND = 1_000_000
DAY_S = 86_400.0


def delivery(id_: str, *, alert: str = "a", channel: str = "c", next_at: int = 0) -> Delivery:
    """Return a notification that waits since time 0."""
    return Delivery(id_, alert, "drift.opened", channel, b"{}", "pending", 0, next_at)


def next_s(now_s: float, retry_after_s: float | None = None, draw: float = 0.0) -> float | None:
    """Return the next try of what was queued at time 0, in seconds."""
    found = next_try_at(0, round(now_s * SECOND), retry_after_s, draw)
    return None if found is None else found / SECOND


def test_tries_follow_the_table() -> None:
    """After a failure at each time of the table the next one comes; after the last, none."""
    assert [next_s(at) for at in SCHEDULE_S] == [*SCHEDULE_S[1:], None]


def test_jitter_only_delays() -> None:
    """The largest draw adds a tenth of the gap."""
    assert next_s(5.0, draw=0.999_999) == pytest.approx(300 + 0.1 * 295, abs=0.01)


def test_missed_tries_are_left_out() -> None:
    """After three hours without power the next try is the one at five hours."""
    assert next_s(3 * 3600.0) == 5 * 3600.0


def test_two_tries_are_never_close() -> None:
    """A failure just before a time of the table does not lead to two tries in a second."""
    assert next_s(299.5) == 304.5


@pytest.mark.parametrize(
    ("asked_s", "expected_s"), [(2.0, 5.0), (60.0, 60.0), (1e6, DAY_S), (None, 5.0)]
)
def test_retry_after_moves_a_try_back(asked_s: float | None, expected_s: float) -> None:
    """It never brings one forward, and never beyond the day in which we try at all."""
    assert next_s(0.0, asked_s) == expected_s


def test_a_clock_that_was_set_back_delays_nothing_for_long() -> None:
    """A queueing time in the future counts as now."""
    assert next_s(-3600.0) == 5.0


def test_success_ends_a_notification() -> None:
    """Its last error is cleared."""
    failed = after_try(delivery("d"), Result(500, "broken"), SECOND, 0.0)
    done = after_try(failed, Result(204), 9 * SECOND, 0.0)
    assert (done.state, done.tries, done.last_status, done.last_error, done.delivered_at) == (
        "delivered",
        2,
        204,
        None,
        9 * SECOND,
    )


def test_heads_wait_for_none_and_others_wait_for_them() -> None:
    """A younger notification of the same alert and channel waits, though it is due."""
    late = delivery("1", next_at=50 * SECOND)
    younger = delivery("2")
    elsewhere = delivery("3", channel="other")
    assert batches([late, younger, elsewhere], 10 * SECOND, 4) == {"other": [elsewhere]}
    assert batches([late, younger], 50 * SECOND, 4) == {"c": [late]}
    assert due_in_s([late, younger], 10 * SECOND) == 40.0
    assert due_in_s([late], 90 * SECOND) == 0.0
    assert due_in_s([], 0) is None


def test_channels_have_their_own_batches() -> None:
    """Many alerts of one channel take no place of another's."""
    many = [delivery(str(n), alert=str(n)) for n in range(9)]
    other = delivery("x", channel="other")
    found = batches([*many, other], 0, 2)
    assert {name: [d.id for d in due] for name, due in found.items()} == {
        "c": ["0", "1"],
        "other": ["x"],
    }


def test_a_channel_that_rests_gets_nothing() -> None:
    """What is due for it waits for the end of the rest."""
    assert batches([delivery("1")], 5 * SECOND, 2, {"c": 6 * SECOND}) == {}
    assert due_in_s([delivery("1")], 5 * SECOND, {"c": 6 * SECOND}) == 1.0


def test_replay_starts_over_with_the_same_id() -> None:
    """Body and id stay, tries and times are new."""
    dead = msgspec.structs.replace(delivery("d"), state="dead", tries=10, last_error="answered 500")
    again = outbox.replayed(dead, 7)
    assert (again.id, again.body, again.state) == (dead.id, dead.body, "pending")
    assert (again.created_at, again.next_at, again.tries) == (7, 7, 0)
