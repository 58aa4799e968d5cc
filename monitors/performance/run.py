"""One look at what became of predictions: realised accuracy, error and score.

What came in within the window is compared with the predictions of the baseline's period, however
late each label came: predictions that began before that period's end count for it alone.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from monitors import windows
from monitors.baselines import choose_baseline, label
from monitors.breaches import Standing, Store, change, is_open
from monitors.budget import PERFORMANCE
from monitors.endings import ended, verdict_id
from monitors.episodes import Change
from monitors.errors import NoBaseline
from monitors.options import MonitorOptions
from monitors.performance.measures import (
    Measured,
    are_numbers,
    difference,
    measured_of,
    merged,
    surely_worse,
    worse_by,
)
from monitors.silence import DAY_S, SEEN_AT, Patience, given_up, seen_at
from monitors.slo.run import OnLook
from stats.results import Measurement
from storage import outcomes
from storage.log_reader import LogReader
from storage.reader import Window
from storage.records import Baseline, Verdict

MONITOR = "performance"
EVERY_S = 3_600.0
"""Seconds between looks: labels come slowly, and every look costs a part of the budget."""
CRITICAL = 5.0
"""An effect of so many times what matters is critical."""
OLDEST_US = 90 * 86_400 * windows.SECOND_US
"""Predictions that began longer ago are looked for no more."""
_DAYS_30_S = 30 * 86_400.0
_LEAST_S = 7 * DAY_S
"""Labels often come once a week."""
_METRICS = 2
_WORDS = {"accuracy": "accuracy", "absolute_error": "mean absolute error", "score": "mean score"}


class PerformanceStore(Store, Protocol):
    """What this monitor reads beside."""

    def baseline_heads(self, route: str | None = None) -> Sequence[Baseline]:
        """Return every version of every baseline, without cells."""
        ...


class _Look(NamedTuple):
    at: int
    route: str
    window: Window
    baseline: str


class PerformanceRun:
    """Looks at the feedback of every route; call `run_once` from a thread, never from the loop.

    Parameters
    ----------
    routes : sequence of str
        Names from the configuration.
    on_look : callable
        Takes the verdicts and changes of a look once they are saved.
    """

    def __init__(
        self,
        store: PerformanceStore,
        config: MonitorOptions,
        routes: Sequence[str],
        on_look: OnLook,
    ) -> None:
        self._store = store
        self._config = config
        self._routes = tuple(routes) if config.enabled and config.performance.enabled else ()
        # Looks are few enough for every one to be written: what a report sees then has no holes.
        self._standing = Standing(store, MONITOR, keep_us=0)
        self._on_look = on_look
        self._lock = threading.Lock()

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look at the feedback that came in within the window that ends at `now_us`."""
        with self._lock:
            verdicts = [v for route in self._routes for v in self._route(route, now_us)]
            watched = {(route, "", metric) for route in self._routes for metric in _WORDS}
            why = "the configuration watches it no more"
            verdicts += self._standing.gone(watched, now_us, why)
            self._standing.take(verdicts)
            self._on_look(verdicts, [_change_of(verdict) for verdict in verdicts])
        return verdicts

    def _route(self, route: str, now_us: int) -> Iterator[Verdict]:
        window = Window(now_us - round(self._config.performance.window * windows.SECOND_US), now_us)
        lasts = {metric: self._standing.last((route, "", metric)) for metric in _WORDS}
        standing = {metric: last for metric, last in lasts.items() if last and is_open(last)}
        with self._store.snapshot() as log:
            if not standing and not outcomes.has_feedback(log.connection, window):
                return
            try:
                baseline = choose_baseline(self._store.baseline_heads(route), route)
            except NoBaseline:
                why = "the route has no baseline any more"
                yield from (_ended(last, window, why) for last in standing.values())
                return
            look = _Look(now_us, route, window, label(baseline))
            since = max(baseline.window_to, now_us - OLDEST_US)
            now = _side(log, outcomes.Asked(window, Window(since, now_us), route))
            if not now and not standing:
                return
            # A file's rows are in no log, so that such a baseline has no outcomes.
            period = Window(baseline.window_from, baseline.window_to)
            given = Window(baseline.window_from, now_us)
            before = _side(log, outcomes.Asked(given, period, route))
        for metric in _WORDS:
            last, found = standing.get(metric), now.get(metric)
            verdict = found and self._verdict(look, metric, before.get(metric), found)
            if last and (verdict is None or verdict.value is None):
                verdict = self._standing_on(look, last, before.get(metric))
            if verdict:
                yield verdict

    def _standing_on(self, look: _Look, last: Verdict, before: Measured | None) -> Verdict:
        """Return what an open metric is that nothing new is known of: as it was, or at its end."""
        if before is None or before.moments.n < self._config.min_samples:
            why = f"the period of `{look.baseline}` has too little feedback to compare with"
            return _ended(last, look.window, why)
        if last.baseline != look.baseline:
            return _ended(last, look.window, f"`{look.baseline}` took the place of its baseline")
        options = self._config
        patience = Patience(options.clear_after, options.performance.window, _LEAST_S)
        why = given_up(last, look.at, patience)
        if why:
            return _ended(last, look.window, why)
        again = verdict_id(MONITOR, look.route, ("", last.feature), look.at)
        details = {**last.details, SEEN_AT: seen_at(last, look.at, patience)}
        return msgspec.structs.replace(last, id=again, at=look.at, details=details)

    def _verdict(self, look: _Look, metric: str, before: Measured | None, now: Measured) -> Verdict:
        m = 0 if before is None else before.moments.n
        least = self._config.min_samples
        enough = before is not None and min(m, now.moments.n) >= least
        found = difference(before, now, level=1.0 - self._alpha()) if before and enough else None
        matters = self._material(metric, before)
        worse = 0.0 if found is None else worse_by(metric, found.value)
        sure = found is not None and surely_worse(metric, found.interval) and worse >= matters
        last = self._standing.last((look.route, "", metric))
        calm = _calm(last) + 1 if worse <= matters / 2.0 and not sure else 0
        open_ = sure or (is_open(last) and found is not None and calm < self._config.clear_after)
        critical = open_ and 0.0 < CRITICAL * matters <= worse
        return Verdict(
            id=verdict_id(MONITOR, look.route, ("", metric), look.at),
            at=look.at,
            monitor=MONITOR,
            route=look.route,
            feature=metric,
            kind="numeric",
            verdict="breach" if open_ else "not_enough_data" if found is None else "ok",
            severity="none" if not open_ else "critical" if critical else "warning",
            statistic=f"{metric}_change",
            value=None if found is None else found.value,
            low=None if found is None else found.interval.low,
            high=None if found is None else found.interval.high,
            threshold=matters,
            n_reference=m,
            n_current=now.moments.n,
            window_from=look.window.from_us,
            window_to=look.window.to_us,
            baseline=look.baseline,
            details={
                "open": open_,
                "calm_looks": calm if open_ and found is not None else 0,
                "now": now.moments.mean,
                "before": None if before is None else before.moments.mean,
                "cause": _sentence(look, now, before, found),
            },
        )

    def _alpha(self) -> float:
        looks = _DAYS_30_S / max(EVERY_S, self._config.every)
        spent = PERFORMANCE * self._config.false_alarms_per_30d
        # The intervals have two sides, of which one alarms.
        return min(0.05, 2.0 * spent / (max(1.0, looks) * _METRICS))

    def _material(self, metric: str, before: Measured | None) -> float:
        options = self._config.performance
        if metric == "accuracy" or before is None:
            return options.accuracy
        return options.sd * math.sqrt(before.moments.variance)


def _side(log: LogReader, asked: outcomes.Asked) -> dict[str, Measured]:
    kinds = outcomes.join(log.connection, asked)
    whole = merged(outcomes.tallies(log.connection, "variant"))
    if not kinds or whole is None:
        return {}
    return {one.metric: one for one in measured_of(whole, numbers=are_numbers(kinds[0]))}


def _ended(last: Verdict, window: Window, why: str) -> Verdict:
    return ended(last, windows.Window(*window), why)


def _calm(last: Verdict | None) -> int:
    calm = None if last is None else last.details.get("calm_looks")
    return calm if isinstance(calm, int) else 0


def _sentence(
    look: _Look, now: Measured, before: Measured | None, found: Measurement | None
) -> str:
    name, mean = _WORDS[now.metric], now.moments.mean
    told = f"route `{look.route}`: {name} {mean:.4g} of {now.moments.n:,} predictions"
    if before is None or found is None:
        return f"{told}; too few of the baseline's period, or of now, have feedback to compare"
    was = f"{before.moments.mean:.4g} of {before.moments.n:,} in the baseline's period"
    word = "worse than" if surely_worse(now.metric, found.interval) else "beside"
    return f"{told}, {word} {was}"


def _change_of(verdict: Verdict) -> Change:
    event = "opened" if is_open(verdict) else "resolved"
    names = ("now", "before")
    data = {name: verdict.details[name] for name in names if name in verdict.details}
    return change(event, verdict, verdict.feature, data)
