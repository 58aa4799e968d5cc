"""The outbox: which notification is sent when, and what its answer makes of it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from monitors.alerts.payload import alerts_in
from monitors.windows import SECOND_US
from storage.records import Delivery

SCHEDULE_S = (
    0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0
)  # fmt: skip
"""Times of the tries, from the queueing on: the table of Standard Webhooks, over 24 hours."""
JITTER = 0.1
"""Share of the gap between two tries by which the second may come later."""
SHORTEST_GAP_S = 5.0
GONE = 410
_ERROR_CHARS = 300


class Result(NamedTuple):
    """What came of one try.

    Attributes
    ----------
    status : int or None
        HTTP status; None when no answer came.
    error : str or None
        One sentence; None is success.
    retry_after_s : float or None
        What the receiver asked for.
    """

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.error is None


def next_try_at(
    created_at: int, now_us: int, retry_after_s: float | None, draw: float
) -> int | None:
    """Return when to try again after a failure at `now_us`, or None after the last try.

    Tries that a stop of this program made it miss are left out, not caught up with. A
    `Retry-After` moves the next try back, to the end of the 24 hours at most.

    Parameters
    ----------
    created_at, now_us : int
        Microseconds since the epoch.
    draw : float
        Uniform in [0, 1): receivers that come back are not met by everything at once.
    """
    age_s = (now_us - created_at) / SECOND_US
    later = [(b, b - a) for a, b in pairwise(SCHEDULE_S) if b > age_s]
    if not later:
        return None
    offset_s, gap_s = later[0]
    planned_s = offset_s + JITTER * draw * gap_s
    asked_s = age_s + max(SHORTEST_GAP_S, retry_after_s or 0.0)
    last_s = max(SCHEDULE_S[-1], planned_s)
    return created_at + round(min(max(planned_s, asked_s), last_s) * SECOND_US)


def after_try(delivery: Delivery, result: Result, now_us: int, draw: float) -> Delivery:
    """Return a notification after a try that ended at `now_us`.

    Success ends it; 410 and the end of the 24 hours put it on the list of the dead.
    """
    tried = msgspec.structs.replace(
        delivery,
        tries=delivery.tries + 1,
        last_status=result.status,
        last_error=None if result.error is None else result.error[:_ERROR_CHARS],
    )
    if result.delivered:
        return msgspec.structs.replace(tried, state="delivered", delivered_at=now_us)
    at = next_try_at(delivery.created_at, now_us, result.retry_after_s, draw)
    if result.status == GONE or at is None:
        return msgspec.structs.replace(tried, state="dead")
    return msgspec.structs.replace(tried, next_at=at)


def buried(delivery: Delivery, why: str) -> Delivery:
    """Return a notification that cannot be tried at all."""
    return msgspec.structs.replace(delivery, state="dead", last_error=why[:_ERROR_CHARS])


def replayed(delivery: Delivery, now_us: int) -> Delivery:
    """Return a notification that starts over: same id and body, due now, for another 24 hours."""
    return msgspec.structs.replace(
        delivery, state="pending", created_at=now_us, next_at=now_us, tries=0, delivered_at=None
    )


def withheld(delivery: Delivery, why: str) -> Delivery:
    """Return a notification that is not sent, though nothing went wrong."""
    return msgspec.structs.replace(delivery, state="withheld", last_error=why[:_ERROR_CHARS])


def heads(pending: Iterable[Delivery]) -> list[Delivery]:
    """Return the oldest of each (alert, channel): the others wait, so that order is kept.

    A digest is about several alerts; it waits for all of them, and they for it.

    Parameters
    ----------
    pending : iterable of Delivery
        Oldest first.
    """
    found, seen = [], set[tuple[str, str]]()
    for delivery in pending:
        about = alerts_in(delivery.event, delivery.body) or (delivery.alert_id,)
        keys = {(alert_id, delivery.channel) for alert_id in about}
        if not keys & seen:
            found.append(delivery)
        seen |= keys
    return found


def batches(
    pending: Iterable[Delivery],
    now_us: int,
    size: int,
    rests_until: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, list[Delivery]]:
    """Return by channel up to `size` heads that are due.

    Parameters
    ----------
    rests_until : mapping
        Microseconds since the epoch before which a channel gets nothing.
    """
    by_channel: dict[str, list[Delivery]] = {}
    for head in heads(pending):
        if max(head.next_at, rests_until.get(head.channel, 0)) <= now_us:
            by_channel.setdefault(head.channel, []).append(head)
    return {channel: due[:size] for channel, due in by_channel.items()}


def due_in_s(
    pending: Sequence[Delivery], now_us: int, rests_until: Mapping[str, int] = MappingProxyType({})
) -> float | None:
    """Return the seconds until the next head is due, at least 0; None when nothing waits."""
    times = [max(head.next_at, rests_until.get(head.channel, 0)) for head in heads(pending)]
    return max(0.0, (min(times) - now_us) / SECOND_US) if times else None
