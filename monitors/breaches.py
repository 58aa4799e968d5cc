"""What the monitors of levels share: what stands since the look before, and what is worth a row.

Drift has its own ways (`monitors.schedule`): it compares distributions, these watch levels.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from monitors.endings import ENDED, ended, has_ended
from monitors.episodes import Change, EpisodeSeverity
from monitors.silence import is_no_data, unrecovered
from monitors.windows import SECOND_US, Window, from_us
from storage.log_reader import LogReader
from storage.records import Verdict

KEEP_US = 300 * SECOND_US
"""A verdict that says the same as the one before is written after so long."""

StreamKey = tuple[str, str, str]
"""(route, segment, feature)."""


class Store(Protocol):
    """What these monitors read from and write to the prediction log; safe to call from a thread."""

    def snapshot(self) -> AbstractContextManager[LogReader]:
        """Lend reads that all see the log as it is now."""
        ...

    def latest_verdicts(self, route: str | None, monitor: str) -> Sequence[Verdict]:
        """Return the newest verdict of each (route, segment, feature); None is every route."""
        ...

    def save_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none."""
        ...


def key_of(verdict: Verdict) -> StreamKey:
    """Return what a verdict is about."""
    return verdict.route, verdict.segment, verdict.feature


def is_open(verdict: Verdict | None) -> bool:
    """Say whether an episode goes on after a verdict."""
    return verdict is not None and verdict.details.get("open") is True


class Standing:
    """The newest verdicts of one monitor, over restarts; call it from one thread.

    Parameters
    ----------
    monitor : str
        As verdicts name it.
    keep_us : int
        Microseconds after which a verdict is written though it says nothing new.
    """

    def __init__(self, store: Store, monitor: str, *, keep_us: int = KEEP_US) -> None:
        self._keep_us = keep_us
        self._store = store
        self._monitor = monitor
        self._last: dict[StreamKey, Verdict] | None = None
        self._written: dict[StreamKey, Verdict] = {}

    def last(self, key: StreamKey) -> Verdict | None:
        """Return what the look before said, or the one before a restart."""
        return self._known().get(key)

    def take(self, verdicts: Iterable[Verdict]) -> None:
        """Remember verdicts; write those that say something new, and the others now and then."""
        fresh = list(verdicts)
        worth = [verdict for verdict in fresh if self._is_news(verdict)]
        if worth:
            self._store.save_verdicts(worth)
        self._written.update((key_of(verdict), verdict) for verdict in worth)
        self._known().update((key_of(verdict), verdict) for verdict in fresh)

    def gone(self, watched: Collection[StreamKey], at_us: int, why: str) -> list[Verdict]:
        """Return a last verdict on each stream that is watched no more."""
        window = Window(at_us - SECOND_US, at_us)
        return [
            ended(last, window, why)
            for key, last in self._known().items()
            if key not in watched and not has_ended(last)
        ]

    def _is_news(self, verdict: Verdict) -> bool:
        before = self._written.get(key_of(verdict))
        # A clock that was set back writes again, too.
        if before is None or abs(verdict.at - before.at) >= self._keep_us:
            return True
        return _state(before) != _state(verdict)

    def _known(self) -> dict[StreamKey, Verdict]:
        # The log is asked once, for looks before a restart: no one else writes it.
        if self._last is None:
            stored = self._store.latest_verdicts(None, self._monitor)
            self._last = {key_of(verdict): verdict for verdict in stored}
        return self._last


def _state(verdict: Verdict) -> tuple[object, ...]:
    return verdict.verdict, verdict.severity, is_open(verdict), has_ended(verdict)


def severity_of(verdict: Verdict) -> EpisodeSeverity:
    """Return a breach's severity as alerts know it."""
    return "critical" if verdict.severity == "critical" else "warning"


def change(event: str, verdict: Verdict, subject: str, data: dict[str, object]) -> Change:
    """Return the change of one verdict's episode; its `cause` is the summary.

    Parameters
    ----------
    event : str
        `opened` or `resolved`; the pipeline finds out what only goes on or got worse.
    """
    why = verdict.details.get(ENDED, verdict.details.get("cause", ""))
    if is_no_data(verdict):
        why = unrecovered(verdict.monitor, verdict.route, [verdict])
    return Change(
        kind=f"{verdict.monitor}.{event}",
        route=verdict.route,
        subject=subject,
        severity=severity_of(verdict),
        summary=str(why),
        data={
            "version": 1,
            "route": verdict.route,
            "monitor": verdict.monitor,
            "feature": verdict.feature,
            "segment": verdict.segment,
            "statistic": verdict.statistic,
            "value": verdict.value,
            "low": verdict.low,
            "high": verdict.high,
            "threshold": verdict.threshold,
            "n_current": verdict.n_current,
            "window": {"from": from_us(verdict.window_from), "to": from_us(verdict.window_to)},
            **({"no_data": True} if is_no_data(verdict) else {}),
            **data,
        },
    )
