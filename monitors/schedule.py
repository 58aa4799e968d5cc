"""When to look, and one look: every route, every signal, against its baseline."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from monitors.baselines import Reference, label, read_references
from monitors.certainty import could_change
from monitors.counted import CountedWindows, RowWindows, windows_of_route
from monitors.drift import Comparison, TooFew, compare
from monitors.errors import MonitorError
from monitors.observed import Window as Seen
from monitors.observed import rows_of
from monitors.options import MonitorOptions
from monitors.references.choosing import ensure
from monitors.references.making import Period, make
from monitors.signals.table import SIGNALS, Signal
from monitors.verdicts import (
    MONITOR,
    Look,
    ended,
    has_ended,
    judge,
    levels_for,
    per_look_alpha,
)
from monitors.windows import SECOND_US, Window, window_ending
from storage.log_reader import LogReader
from storage.reader import Window as ReadWindow
from storage.records import Baseline, Verdict

UNDECIDED = "counts leave the verdict open, and the rows are too many to read, or gone"
"""In a verdict's `details["undecided"]`: its rows might say another word."""


class Store(Protocol):
    """What monitoring reads from and writes to the prediction log; safe to call from a thread."""

    def snapshot(self) -> AbstractContextManager[LogReader]:
        """Lend reads that all see the log as it is now."""
        ...

    def load_baselines(self, route: str) -> Sequence[Baseline]:
        """Return every version of every baseline of a route."""
        ...

    def save_baseline(self, baseline: Baseline) -> None:
        """Append a baseline; its version is a new one."""
        ...

    def latest_verdicts(self, route: str | None, monitor: str) -> Sequence[Verdict]:
        """Return the newest verdict of each feature of a route; None is every route."""
        ...

    def save_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none."""
        ...


class MonitorStatistics(NamedTuple):
    """What the monitor did since it started."""

    looks: int
    """Runs that ended, over all routes."""

    verdicts: int
    """Verdicts saved."""

    last_at: int | None
    """Microseconds since the epoch of the last run; None before the first."""

    waiting: Mapping[str, str]
    """Routes without verdicts in the last run, and why."""


def next_run_at(now_us: int, every_s: float) -> int:
    """Return the first time after `now_us` on the grid of looks.

    The grid starts at the epoch, so that looks keep their times over restarts; a run that took
    longer than `every_s`, or a stop, skips looks instead of catching up.
    """
    step = max(1, round(every_s * SECOND_US))
    return (now_us // step + 1) * step


def watched(config: MonitorOptions) -> tuple[Signal, ...]:
    """Return the signals that the configuration leaves enabled."""
    off = {name for name, feature in config.features.items() if not feature.enabled}
    return tuple(signal for signal in SIGNALS if signal.name not in off)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A chosen baseline, read."""

    baseline: str
    created_at: int
    references: Mapping[str, Reference]


class MonitorRun:
    """Looks at every route; call `run_once` from one thread or several, never from the loop.

    Parameters
    ----------
    routes : sequence of str
        Names from the configuration.
    on_verdicts : callable
        Takes the verdicts of a run once they are saved.
    """

    def __init__(
        self,
        store: Store,
        config: MonitorOptions,
        routes: Sequence[str],
        on_verdicts: Callable[[list[Verdict]], None],
    ) -> None:
        self._store = store
        self._config = config
        self._routes = tuple(routes)
        self._on_verdicts = on_verdicts
        self._signals = watched(config)
        self._lock = threading.Lock()
        self._prepared: dict[str, _Prepared] = {}
        self._last: dict[str, dict[str, Verdict]] | None = None
        self._statistics = MonitorStatistics(0, 0, None, {})

    def statistics(self) -> MonitorStatistics:
        """Return counts since the start, and which routes wait for what."""
        return self._statistics

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look at the windows that end at `now_us`, save the verdicts, hand them on.

        A route without a baseline gives no verdicts; `statistics().waiting` says why. What was
        compared by the look before, or before a restart, and is compared no more gets a last
        verdict, so that its alert ends.
        """
        with self._lock:
            verdicts, waiting = self._look(now_us) if self._config.enabled else ([], {})
            endings = self._endings(verdicts, waiting, now_us)
            if not (self._config.enabled or endings):
                return []
            if verdicts:
                self._store.save_verdicts(verdicts)
            self._remember(verdicts)
            before, given = self._statistics, [*verdicts, *endings]
            self._statistics = MonitorStatistics(
                before.looks + 1, before.verdicts + len(given), now_us, waiting
            )
            # Within the lock, so that the receiver sees looks in order.
            self._on_verdicts(given)
            if endings:
                # Last: after a crash before this the next run hands them on once more.
                self._store.save_verdicts(endings)
            self._remember(endings)
        return given

    def _look(self, now_us: int) -> tuple[list[Verdict], dict[str, str]]:
        verdicts: list[Verdict] = []
        waiting: dict[str, str] = {}
        for route in self._routes:
            try:
                verdicts += self._look_at(route, now_us)
            except MonitorError as error:
                waiting[route] = str(error)
        return verdicts, waiting

    def _look_at(self, route: str, now_us: int) -> list[Verdict]:
        prepared = self._prepare(route, now_us)
        config = self._config
        look = Look(
            at=now_us,
            route=route,
            window=window_ending(now_us, config.window),
            baseline=prepared.baseline,
            clear_after=config.clear_after,
        )
        asked = ReadWindow(look.window.from_us, look.window.to_us)
        with self._store.snapshot() as log:
            windows = windows_of_route(log, route, asked)
            windows.prepare(route, prepared.baseline, prepared.references)
            return [self._judge(windows, signal, prepared, look) for signal in self._signals]

    def _judge(
        self,
        windows: RowWindows | CountedWindows,
        signal: Signal,
        prepared: _Prepared,
        look: Look,
    ) -> Verdict:
        previous = self._known().get(look.route, {}).get(signal.name)
        levels = levels_for(self._config, signal.name)
        found = self._compare(windows.window(look.route, signal), signal, prepared)
        was_open = previous is not None and previous.details.get("open") is True
        if not (isinstance(found, Comparison) and could_change(found, levels, was_open=was_open)):
            return judge(found, levels, look, previous)
        rows = windows.rows(look.route, signal.name)
        if rows is not None:
            return judge(self._compare(rows, signal, prepared), levels, look, previous)
        verdict = judge(found, levels, look, previous)
        return msgspec.structs.replace(verdict, details={**verdict.details, "undecided": UNDECIDED})

    def _compare(self, seen: Seen, signal: Signal, prepared: _Prepared) -> Comparison | TooFew:
        config, references = self._config, prepared.references
        reference = references.get(signal.name)
        if reference is None:
            return TooFew(signal.name, signal.kind, 0, rows_of(seen), config.min_samples)
        alpha = per_look_alpha(config.false_alarms_per_30d, config.every, len(references))
        return compare(reference, seen, alpha=alpha, min_samples=config.min_samples)

    def _endings(
        self, verdicts: Sequence[Verdict], waiting: Mapping[str, str], now_us: int
    ) -> list[Verdict]:
        """Return a last verdict on each feature that was compared before, and not by this look."""
        looked_at = {(v.route, v.feature) for v in verdicts}
        window = window_ending(now_us, self._config.window)
        return [
            ended(last, window, self._why_ended(route, waiting))
            for route, features in self._known().items()
            for feature, last in features.items()
            if (route, feature) not in looked_at and not has_ended(last)
        ]

    def _why_ended(self, route: str, waiting: Mapping[str, str]) -> str:
        if not self._config.enabled:
            return "`monitors.enabled` is false"
        if route not in self._routes:
            return "the configuration has no such route"
        return waiting.get(route, "`monitors.features` switches it off")

    def _known(self) -> dict[str, dict[str, Verdict]]:
        # The log is asked once, for looks before a restart: it grows, and no one else writes it.
        if self._last is None:
            self._last = {}
            for verdict in self._store.latest_verdicts(None, MONITOR):
                self._last.setdefault(verdict.route, {})[verdict.feature] = verdict
        return self._last

    def _remember(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._known().setdefault(verdict.route, {})[verdict.feature] = verdict

    def _prepare(self, route: str, now_us: int) -> _Prepared:
        chosen = ensure(self._store, self._config, route, now_us)
        name, known = label(chosen), self._prepared.get(route)
        # Once dropped, a baseline's name and version may be taken by another one.
        if known is None or (known.baseline, known.created_at) != (name, chosen.created_at):
            references = read_references(chosen)
            kept = {s.name: references[s.name] for s in self._signals if s.name in references}
            known = _Prepared(name, chosen.created_at, kept)
            self._prepared[route] = known
        return known

    def set_baseline(self, name: str, route: str, window: Window, now_us: int) -> Baseline:
        """Build a baseline from a window and save it as a new version; see `making.make`.

        Raises
        ------
        BaselineInvalid
            The window holds too few rows.
        """
        with self._lock:
            period = Period(name, route, window, {"kind": "period"})
            return make(self._store, self._config, period, now_us)
