"""What waits, before it is sent: ends that are taken back, silences, digests.

Only the loop that sends changes notifications, so nothing here can meet one that is on its way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from monitors.alerts.config import ChannelConfig
from monitors.alerts.outbox import heads, withheld
from monitors.alerts.payload import DIGEST, DIGEST_ALERTS, digest_body, event_of
from monitors.alerts.silences import silence_of
from monitors.windows import SECOND_US, from_us
from storage.monitor_records import Silence
from storage.records import Alert, Delivery

_HELD = "silenced until "
_CLOCKS_DIFFER_US = 60 * SECOND_US
"""What a clock may be set back by without anything being queued anew."""


class Quiet(NamedTuple):
    """What is silenced, of whatever waits.

    Attributes
    ----------
    silences : sequence of Silence
        Those that have not ended.
    alerts : mapping of str to Alert
        The open alerts, by id.
    """

    silences: Sequence[Silence] = ()
    alerts: Mapping[str, Alert] = {}


def is_held(delivery: Delivery) -> bool:
    """Say whether a notification waits for the end of a silence."""
    return delivery.state == "pending" and (delivery.last_error or "").startswith(_HELD)


def sift(
    pending: Sequence[Delivery],
    quiet: Quiet,
    channels: Mapping[str, ChannelConfig],
    now_us: int,
    since_us: int = 0,
) -> list[Delivery]:
    """Return the notifications that change before anything is sent, as they are then.

    Parameters
    ----------
    pending : sequence of Delivery
        What waits and is not on its way, oldest first.
    since_us : int
        Start of the process that sends. What was queued before may have been sent without a note
        of it: it keeps its id and its body.
    """
    changed = {d.id: d for d in _queued_now(pending, now_us)}
    pending = [changed.get(d.id, d) for d in pending]
    changed |= {d.id: d for d in _taken_back(pending)}
    rest = [d for d in pending if changed.get(d.id, d).state == "pending"]
    changed |= {d.id: d for d in _hushed(rest, quiet, channels, now_us)}
    rest = [changed.get(d.id, d) for d in pending]
    rest = [d for d in rest if d.state == "pending" and not is_held(d)]
    changed |= {d.id: d for d in _grouped(rest, channels, now_us, since_us)}
    return list(changed.values())


def _queued_now(pending: Sequence[Delivery], now_us: int) -> Iterator[Delivery]:
    """Take what was queued before the clock was set back for queued now: it would wait for that."""
    for delivery in pending:
        if delivery.created_at > now_us + _CLOCKS_DIFFER_US and not is_held(delivery):
            wait_us = max(0, delivery.next_at - delivery.created_at)
            yield msgspec.structs.replace(delivery, created_at=now_us, next_at=now_us + wait_us)


def _taken_back(pending: Sequence[Delivery]) -> Iterator[Delivery]:
    """Withhold an end that nobody was told of, when the episode went on."""
    why = "the episode went on before its end was told"
    for group in _episodes(pending):
        last: Delivery | None = None
        for delivery in group:
            word = event_of(delivery.event)[1]
            if last is not None and word in {"opened", "escalated"}:
                yield withheld(last, why)
                # What is open to the receiver needs no opening; that it got worse is news.
                if word == "opened":
                    yield withheld(delivery, why)
            last = delivery if word == "resolved" and not delivery.tries else None


def _hushed(
    pending: Sequence[Delivery],
    quiet: Quiet,
    channels: Mapping[str, ChannelConfig],
    now_us: int,
) -> Iterator[Delivery]:
    for group in _episodes(pending):
        alert = quiet.alerts.get(group[0].alert_id)
        silence = None if alert is None else silence_of(alert, quiet.silences, now_us)
        if alert is None:
            yield from _over(group, channels)
        elif silence is None:
            yield from _let_go(group, now_us)
        else:
            # The end of what was told goes out at once: it pages nobody, and closes incidents.
            told = (d for d in group if event_of(d.event)[1] != "resolved")
            yield from (_held(d, silence) for d in told if not _is_under(d, silence))


def _over(group: Sequence[Delivery], channels: Mapping[str, ChannelConfig]) -> Iterator[Delivery]:
    """Send nothing of an episode that came and went under a silence; of one told of, its end."""
    held = [d for d in group if is_held(d)]
    untold = any(_tells_first(d, channels) for d in held)
    why = "the episode ended while it was silenced"
    yield from (withheld(d, why) for d in (group if untold else held))


def _tells_first(delivery: Delivery, channels: Mapping[str, ChannelConfig]) -> bool:
    """Say whether a channel hears of an episode by this: of critical ones alone, when it rises."""
    channel, word = channels.get(delivery.channel), event_of(delivery.event)[1]
    is_rise = word == "escalated" and channel is not None and channel.min_severity == "critical"
    return word == "opened" or is_rise


def _let_go(group: Sequence[Delivery], now_us: int) -> Iterator[Delivery]:
    """Send what was held."""
    for delivery in group:
        if is_held(delivery):
            yield msgspec.structs.replace(
                delivery, created_at=now_us, next_at=now_us, last_error=None
            )


def _held(delivery: Delivery, silence: Silence) -> Delivery:
    why = f"{_HELD}{from_us(silence.ends_at)} by {silence.id}"
    return msgspec.structs.replace(delivery, next_at=silence.ends_at, last_error=why)


def _is_under(delivery: Delivery, silence: Silence) -> bool:
    return is_held(delivery) and delivery.next_at == silence.ends_at


def _grouped(
    pending: Sequence[Delivery],
    channels: Mapping[str, ChannelConfig],
    now_us: int,
    since_us: int,
) -> Iterator[Delivery]:
    """Make one message of what came within a channel's `group_wait`, when its first is due."""
    by_channel: dict[str, list[Delivery]] = {}
    for head in heads(pending):
        if _is_fresh(head, since_us):
            by_channel.setdefault(head.channel, []).append(head)
    for name, found in by_channel.items():
        channel = channels.get(name)
        if channel is None or not channel.groups or all(d.next_at > now_us for d in found):
            continue
        last_us = now_us + round(channel.group_wait_s * SECOND_US)
        together = [d for d in found if d.next_at <= last_us]
        for start in range(0, len(together), DIGEST_ALERTS):
            yield from _digest(together[start : start + DIGEST_ALERTS], now_us)


def _is_fresh(delivery: Delivery, since_us: int) -> bool:
    """Say whether a notification was surely never sent: it waits for others, for the first time.

    One that a replay or the end of a silence queued again is due when it is queued.
    """
    waits = delivery.created_at < delivery.next_at and delivery.created_at >= since_us
    return waits and not delivery.tries and delivery.event != DIGEST


def _digest(together: Sequence[Delivery], now_us: int) -> Iterator[Delivery]:
    first, *others = together
    if not others:
        return
    body = digest_body([d.body for d in together], now_us)
    yield msgspec.structs.replace(first, event=DIGEST, body=body, next_at=now_us)
    yield from (withheld(d, f"told in one message with others, {first.id}") for d in others)


def _episodes(pending: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """Return what waits by alert and channel, digests left out, in its order."""

    def key(delivery: Delivery) -> tuple[str, str]:
        return (delivery.alert_id, delivery.channel)

    single = [d for d in pending if d.event != DIGEST]
    return (list(group) for _, group in groupby(sorted(single, key=key), key=key))
