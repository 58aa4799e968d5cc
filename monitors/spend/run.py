"""One look at spending: caps of the day, and the last hour beside earlier days."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitors.breaches import Standing, Store, change, is_open, key_of
from monitors.budget import SPEND
from monitors.episodes import Change
from monitors.options import MonitorOptions
from monitors.slo.run import OnLook
from monitors.spend.hours import DAYS, Hour, Least, beside
from monitors.spend.options import CapOptions
from monitors.spend.usage import (
    MEASURES,
    NOTHING,
    ByRoute,
    Usage,
    earlier,
    last_hour,
    today,
    used,
)
from storage.reader import Window
from storage.records import Verdict

MONITOR = "spend"
ALL_ROUTES = "*"
HOUR = "hour"
"""Subject of the alert about a route's hours: all measures are one episode."""
NEARLY = 0.8
"""Share of a cap from which on it is a warning."""
CRITICAL = 2.0
"""So many times the configured ratio is critical."""
_HOURS_30D = 720
_CAPS = {"usd_per_day": "usd", "tokens_per_day": "tokens"}


class _Hours(NamedTuple):
    """The hour that is looked at, and the same one of earlier days, the newest first."""

    window: Window
    now: ByRoute
    before: Sequence[ByRoute]


class SpendRun:
    """Looks at what requests cost; call `run_once` from a thread, never from the loop.

    Parameters
    ----------
    routes : sequence of str
        Names from the configuration.
    on_look : callable
        Takes the verdicts and changes of a look once they are saved.
    """

    def __init__(
        self, store: Store, config: MonitorOptions, routes: Sequence[str], on_look: OnLook
    ) -> None:
        self._store = store
        self._config = config
        self._routes = tuple(routes) if config.enabled and config.spend.enabled else ()
        self._standing = Standing(store, MONITOR)
        self._on_look = on_look
        self._lock = threading.Lock()
        self._hour: list[Verdict] = []

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look at the day so far and, once an hour, at the hour that ended last."""
        with self._lock:
            verdicts = [*self._caps(now_us), *self._hours(now_us)] if self._routes else []
            gone = self._standing.gone(
                {key_of(verdict) for verdict in (*verdicts, *self._hour)},
                now_us,
                "the configuration watches it no more",
            )
            changes = list(_changes([*verdicts, *gone]))
            self._standing.take([*verdicts, *gone])
            self._on_look([*verdicts, *gone], changes)
        return [*verdicts, *gone]

    def _caps(self, now_us: int) -> list[Verdict]:
        spend = self._config.spend
        capped: list[tuple[str, CapOptions]] = [
            (ALL_ROUTES, spend),
            *((name, cap) for name, cap in spend.routes.items() if name in self._routes),
        ]
        if not any(_caps_of(cap) for _, cap in capped):
            return []
        window = today(now_us)
        with self._store.snapshot() as log:
            found = used(log, window)
        found[ALL_ROUTES] = sum(found.values(), start=NOTHING)
        return [
            _cap_verdict(route, name, most, found.get(route, NOTHING), window)
            for route, cap in capped
            for name, most in _caps_of(cap).items()
        ]

    def _hours(self, now_us: int) -> list[Verdict]:
        window = last_hour(now_us)
        if self._hour and self._hour[0].window_to == window.to_us:
            return []
        with self._store.snapshot() as log:
            hours = _Hours(
                window,
                used(log, window),
                [used(log, earlier(window, day)) for day in range(1, DAYS + 1)],
            )
        self._hour = [
            self._hour_verdict(route, measure, hours, now_us)
            for route in self._routes
            for measure in MEASURES
        ]
        return self._hour

    def _hour_verdict(self, route: str, measure: str, hours: _Hours, now_us: int) -> Verdict:
        now = hours.now.get(route, NOTHING)
        found = _beside(now, _since_first(hours.before, route), measure, self._config)
        ratio = self._config.spend.ratio
        was_open = is_open(self._standing.last((route, "", measure)))
        # Where no usual hour is known, an hour of next to nothing is calm.
        few = now.requests < self._config.min_samples or not getattr(now, measure)
        calm = few if found is None else found.is_calm(ratio)
        open_ = (was_open and not calm) or (found is not None and found.stands_out(ratio))
        critical = found is not None and found.ratio >= CRITICAL * ratio
        return Verdict(
            id=f"{MONITOR}:{route}:{measure}:{now_us}",
            at=now_us,
            monitor=MONITOR,
            route=route,
            feature=measure,
            kind="numeric",
            verdict="breach" if open_ else "not_enough_data" if found is None else "ok",
            severity="none" if not open_ else "critical" if critical else "warning",
            statistic="ratio",
            value=None if found is None else found.ratio,
            low=None if found is None else found.low,
            high=None if found is None else found.high,
            threshold=None if found is None else found.threshold,
            n_reference=0 if found is None else found.days,
            n_current=now.requests,
            window_from=hours.window.from_us,
            window_to=hours.window.to_us,
            baseline="",
            details={
                "open": open_,
                "now": getattr(now, measure),
                "usual": None if found is None else found.usual,
                "most": None if found is None else found.most,
                "cost_known": now.cost_known,
                "cause": _sentence(route, measure, now, found),
            },
        )


def _caps_of(cap: CapOptions) -> dict[str, float]:
    most = {"usd_per_day": cap.usd_per_day, "tokens_per_day": cap.tokens_per_day}
    return {name: float(value) for name, value in most.items() if value is not None}


def _since_first(before: Sequence[ByRoute], route: str) -> list[Usage]:
    """Return the earlier days from the route's first one on: what was before is no zero."""
    days = [day.get(route, NOTHING) for day in before]
    while days and not days[-1].rows:
        days.pop()
    return days


def _beside(now: Usage, days: Sequence[Usage], measure: str, config: MonitorOptions) -> Hour | None:
    alpha = SPEND * config.false_alarms_per_30d / (_HOURS_30D * len(MEASURES))
    sums = sum((now, *days), start=NOTHING)
    # So many requests as one asks for, each as dear as they are on average.
    each = getattr(sums, measure) / max(1, sums.requests)
    usual_rows = sorted(day.requests for day in days)[len(days) // 2] if days else 0
    least = Least(config.min_samples * each, max(float(usual_rows), config.min_samples))
    values = [float(getattr(day, measure)) for day in days]
    return beside(float(getattr(now, measure)), values, least, min(0.05, alpha))


def _sentence(route: str, measure: str, now: Usage, found: Hour | None) -> str:
    if found is None:
        return (
            f"route `{route}`: no usual hour is known: fewer than 3 earlier days, or no {measure}"
        )
    words = {
        "cost_usd": (f"cost {now.cost_usd:.4g} USD", f"{found.usual:.4g} USD"),
        "tokens": (f"took {now.tokens:,} tokens", f"{found.usual:,.0f}"),
        "requests": (f"had {now.requests:,} requests", f"{found.usual:,.0f}"),
    }
    told, usual = words[measure]
    return (
        f"route `{route}`: the last whole hour {told}, {found.ratio:.3g} times the usual {usual}"
        f" (median of that hour on {found.days} days)"
    )


def _cap_verdict(route: str, name: str, most: float, found: Usage, window: Window) -> Verdict:
    spent = found.cost_usd if name == "usd_per_day" else float(found.tokens)
    unit = "USD" if name == "usd_per_day" else "tokens"
    open_ = spent >= NEARLY * most
    where = "all routes together" if route == ALL_ROUTES else f"route `{route}`"
    unknown = found.rows - found.cost_known if name == "usd_per_day" else 0
    beside_ = f"; the cost of {unknown:,} of {found.rows:,} requests is unknown" if unknown else ""
    return Verdict(
        id=f"{MONITOR}:{route}:{name}:{window.to_us}",
        at=window.to_us,
        monitor=MONITOR,
        route=route,
        feature=name,
        kind="numeric",
        verdict="breach" if open_ else "ok",
        severity="none" if not open_ else "critical" if spent >= most else "warning",
        statistic=_CAPS[name],
        value=spent,
        low=spent,
        high=None if unknown else spent,
        threshold=most,
        n_reference=0,
        n_current=found.rows,
        window_from=window.from_us,
        window_to=window.to_us,
        baseline="",
        details={
            "open": open_,
            "share": spent / most,
            "cost_known": found.cost_known,
            "cause": (
                f"{where} used {spent:,.6g} of {most:,.6g} {unit} of this UTC day"
                f" ({spent / most:.0%}){beside_}"
            ),
        },
    )


def _changes(verdicts: Sequence[Verdict]) -> Iterator[Change]:
    """Return one change for each cap, and one for all hours of a route."""
    hours: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.feature in MEASURES:
            hours.setdefault(verdict.route, []).append(verdict)
            continue
        yield change("opened" if is_open(verdict) else "resolved", verdict, verdict.feature, {})
    for found in hours.values():
        opened = [verdict for verdict in found if is_open(verdict)]
        lead = max(opened or found, key=lambda v: (v.severity == "critical", v.value or 0.0))
        data: dict[str, object] = {
            "measures": {v.feature: {"ratio": v.value, "now": v.details.get("now")} for v in found}
        }
        yield change("opened" if opened else "resolved", lead, HOUR, data)
