"""When to look, and one look: every route, every stream, against its baseline."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from monitors.baselines import label, read_references
from monitors.embeddings.names import group_of
from monitors.endings import ended, has_ended
from monitors.errors import MonitorError
from monitors.memory import is_held, is_shared
from monitors.options import MonitorOptions
from monitors.references.choosing import ensure, whole
from monitors.references.making import Period, make
from monitors.route_look import Looked, Prepared, RouteLook, look_of
from monitors.shock import marked
from monitors.signals.table import SIGNALS, Signal
from monitors.streams import RouteStreams, StreamKey, restored, stored
from monitors.verdicts import MONITOR
from monitors.windows import SECOND_US, Window, window_ending
from storage.log_reader import LogReader
from storage.monitor_records import Detector
from storage.records import Alert, Baseline, Verdict

log = logging.getLogger(__name__)

ALERTS_US = 30 * 86_400 * SECOND_US
"""Time over which the alerts of a route are counted beside its budget."""


class Store(Protocol):
    """What monitoring reads from and writes to the prediction log; safe to call from a thread."""

    def snapshot(self) -> AbstractContextManager[LogReader]:
        """Lend reads that all see the log as it is now."""
        ...

    def baseline_heads(self, route: str) -> Sequence[Baseline]:
        """Return every version of every baseline of a route, without cells."""
        ...

    def load_baseline(self, route: str, name: str, version: int) -> Baseline | None:
        """Return one version of a baseline, or None."""
        ...

    def add_baseline(self, baseline: Baseline) -> Baseline:
        """Append a baseline under the next version of its name; return it with that."""
        ...

    def drop_baseline(self, route: str, name: str, *, before_version: int | None = None) -> int:
        """Remove versions of a baseline, the older ones or all; return how many there were."""
        ...

    def latest_verdicts(self, route: str | None, monitor: str) -> Sequence[Verdict]:
        """Return the newest verdict of each feature of a route; None is every route."""
        ...

    def save_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none."""
        ...

    def save_look(self, verdicts: Sequence[Verdict], detectors: Sequence[Detector]) -> None:
        """Append verdicts and put detectors in place of those of their streams, all or none."""
        ...

    def load_detectors(self) -> Sequence[Detector]:
        """Return every detector."""
        ...

    def alerts_between(self, window_from: int, window_to: int) -> Sequence[Alert]:
        """Return the alerts that were opened in a window."""
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


class _Found(NamedTuple):
    """What a look at all routes gave.

    Attributes
    ----------
    waiting : mapping of str to str
        Routes without verdicts, and why.
    given_up : mapping of tuple of str and StreamKey to str
        Open streams of routes that were waited for long enough, and why.
    """

    verdicts: list[Verdict]
    streams: Mapping[str, RouteStreams]
    waiting: Mapping[str, str]
    given_up: Mapping[tuple[str, StreamKey], str]


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


def is_open(verdict: Verdict) -> bool:
    """Say whether an episode is open after a verdict."""
    return verdict.details.get("open") is True


def _key(verdict: Verdict) -> StreamKey:
    return verdict.segment, verdict.feature


def _goes_on(last: Verdict) -> bool:
    """Say whether someone waits for more verdicts; segments are told of while they are held."""
    return is_held(last) if last.segment else not has_ended(last)


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
        self._prepared: dict[str, Prepared] = {}
        self._last: dict[str, dict[StreamKey, Verdict]] | None = None
        self._stored: dict[str, list[Detector]] | None = None
        self._streams: dict[str, RouteStreams] = {}
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
            found = self._look(now_us)
            endings = self._endings(found, now_us)
            if not (self._config.enabled or endings):
                return []
            self._save(found, now_us)
            before, given = self._statistics, [*found.verdicts, *endings]
            self._statistics = MonitorStatistics(
                before.looks + 1, before.verdicts + len(given), now_us, found.waiting
            )
            # Within the lock, so that the receiver sees looks in order.
            self._on_verdicts(given)
            if endings:
                # Last: after a crash before this the next run hands them on once more.
                self._store.save_verdicts(endings)
            self._remember(endings)
        return given

    def _look(self, now_us: int) -> _Found:
        verdicts: list[Verdict] = []
        streams: dict[str, RouteStreams] = {}
        waiting: dict[str, str] = {}
        given_up: dict[tuple[str, StreamKey], str] = {}
        for route in self._routes if self._config.enabled else ():
            try:
                found = self._look_at(route, now_us)
            except MonitorError as error:
                waiting[route] = str(error)
                # Once, not at every look: when comparing begins, and how to begin sooner.
                if self._statistics.waiting.get(route) != waiting[route]:
                    log.warning("%s", error)
                continue
            verdicts += found.verdicts
            streams[route] = found.streams
            given_up.update(((route, key), why) for key, why in found.given_up.items())
        before = [verdict for known in self._known().values() for verdict in known.values()]
        were_open = {(v.route, *_key(v)): is_open(v) for v in before}
        shared = any(map(is_shared, before))
        told = marked(verdicts, were_open, shared_before=shared)
        return _Found(self._spent(told, now_us), streams, waiting, given_up)

    def _look_at(self, route: str, now_us: int) -> Looked:
        prepared = self._prepare(route, now_us)
        look = look_of(route, now_us, prepared, self._config)
        known = self._known().get(route, {})
        before = self._streams_of(route, prepared, now_us)
        with self._store.snapshot() as log:
            return RouteLook(log, self._config, prepared, look, known).run(before)

    def _streams_of(self, route: str, prepared: Prepared, now_us: int) -> RouteStreams | None:
        """Return where the detectors of a route stand; the log is asked once."""
        if self._stored is None:
            self._stored = {}
            for detector in self._store.load_detectors():
                self._stored.setdefault(detector.route, []).append(detector)
        known = self._streams.get(route)
        if known is None:
            return restored(self._stored.get(route, ()), prepared.origin, now_us)
        # Another baseline begins the detectors anew, behind what they have seen.
        same = known.origin == prepared.origin
        return known if same else RouteStreams(prepared.origin, known.batch, {})

    def _spent(self, verdicts: list[Verdict], now_us: int) -> list[Verdict]:
        """Tell what opens how many alerts its route had in 30 days."""
        if not any(self._opens(v) for v in verdicts):
            return verdicts
        alerts = self._store.alerts_between(now_us - ALERTS_US, now_us)
        spent = Counter(alert.route for alert in alerts if alert.kind == MONITOR)
        return [
            msgspec.structs.replace(v, details={**v.details, "alerts_30d": spent[v.route]})
            if self._opens(v)
            else v
            for v in verdicts
        ]

    def _opens(self, verdict: Verdict) -> bool:
        last = self._known().get(verdict.route, {}).get(_key(verdict))
        return verdict.verdict == "drift" and not (last is not None and is_open(last))

    def _save(self, found: _Found, now_us: int) -> None:
        if found.verdicts:
            detectors = [
                detector
                for route, streams in found.streams.items()
                for detector in stored(route, streams, now_us)
            ]
            # In one transaction: no row is shown to a detector twice, or judged and not shown.
            self._store.save_look(found.verdicts, detectors)
        self._streams |= found.streams
        self._remember(found.verdicts)

    def _endings(self, found: _Found, now_us: int) -> list[Verdict]:
        """Return a last verdict on each feature that was compared before, and not by this look."""
        looked_at = {(v.route, *_key(v)) for v in found.verdicts}
        window = window_ending(now_us, self._config.window)
        return [
            ended(last, window, self._why_ended(last, found))
            for route, known in self._known().items()
            for key, last in known.items()
            if (route, *key) not in looked_at and _goes_on(last)
        ]

    def _why_ended(self, last: Verdict, found: _Found) -> str:
        route, prepared, waiting = last.route, self._prepared.get(last.route), found.waiting
        given_up = found.given_up.get((route, _key(last)))
        if given_up is not None:
            return given_up
        if not self._config.enabled:
            return "`monitors.enabled` is false"
        if route not in self._routes:
            return "the configuration has no such route"
        if route in waiting or prepared is None:
            return waiting.get(route, "")
        if prepared.baseline != last.baseline:
            return f"the baseline is `{prepared.baseline}` now"
        return "`monitors.features` switches it off, or the route has none of it"

    def _known(self) -> dict[str, dict[StreamKey, Verdict]]:
        # The log is asked once, for looks before a restart: it grows, and no one else writes it.
        if self._last is None:
            self._last = {}
            for verdict in self._store.latest_verdicts(None, MONITOR):
                self._last.setdefault(verdict.route, {})[_key(verdict)] = verdict
        return self._last

    def _remember(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._known().setdefault(verdict.route, {})[_key(verdict)] = verdict

    def _prepare(self, route: str, now_us: int) -> Prepared:
        calm = not any(is_open(verdict) for verdict in self._known().get(route, {}).values())
        chosen = ensure(self._store, self._config, route, now_us, calm=calm)
        # Once dropped, a baseline's name and version may be taken by another one.
        origin, known = (label(chosen), chosen.created_at), self._prepared.get(route)
        if known is None or known.origin != origin:
            references = read_references(whole(self._store, chosen))
            known = Prepared.of(origin, references, self._signals, self._config)
            self._prepared[route] = known
            self._tell_unknown(route, known)
        return known

    def _tell_unknown(self, route: str, prepared: Prepared) -> None:
        """Say what a baseline was made without: no stream follows it."""
        names = {name for one in prepared.references.values() for name in one.segments}
        missing = sorted(set(self._config.segments) - {name.partition("=")[0] for name in names})
        if missing:
            log.warning(
                "route `%s`: baseline `%s` does not tell %s apart; `monitor baseline set` makes one"
                " that does, of rows that have it",
                route,
                prepared.baseline,
                ", ".join(f"`{key}`" for key in missing),
            )
        embedded = self._config.embeddings.get(route)
        known = {group_of(name) for name in prepared.references}
        if embedded is not None and any(f"{of}_embedding" not in known for of in embedded.of):
            log.warning(
                "route `%s`: baseline `%s` was made before its texts were embedded; `monitor"
                " baseline set` makes one that has embeddings, of rows that have them",
                route,
                prepared.baseline,
            )

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
