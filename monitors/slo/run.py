"""One look at every objective: tallies, verdicts, changes of alerts."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from monitors.breaches import Standing, Store, StreamKey, change, is_open
from monitors.episodes import Change
from monitors.options import MonitorOptions
from monitors.slo.burn import BUDGET_S, RULES, WINDOWS_S, Burn, Memory, Severity, Tallies, judge
from monitors.slo.counting import Good, PastReader, start_of, tallies_of
from monitors.slo.options import EVERY_ROUTE, SloOptions, in_force, measure_of
from storage.records import Verdict

MONITOR = "slo"
BURN_RATE = "burn_rate"
_WORDS = {"errors": "failed", "latency_s": "were too slow", "ttft_s": "began too late"}

OnLook = Callable[[Sequence[Verdict], Sequence[Change]], None]
"""Takes a look's verdicts and the changes of their alerts."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective on one route."""

    name: str
    route: str
    slo: SloOptions

    @property
    def key(self) -> StreamKey:
        """What its verdicts are about."""
        variant = self.slo.variant
        return self.route, "" if variant is None else f"variant={variant}", self.name

    @property
    def good(self) -> Good:
        """What makes a request good."""
        measure = measure_of(self.slo)
        return Good(measure, self.slo.latency_s or self.slo.ttft_s or 0.0)


def objectives(config: MonitorOptions, routes: Sequence[str]) -> list[Objective]:
    """Return every objective of every route that is watched."""
    return [
        Objective(name, route, slo)
        for name, slo in in_force(config.slos).items()
        for route in routes
        if slo.route in {EVERY_ROUTE, route}
    ]


class SloRun:
    """Looks at every objective; call `run_once` from a thread, never from the loop.

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
        self._objectives = objectives(config, routes) if config.enabled else []
        self._past = PastReader(measure_of(one.slo) for one in self._objectives)
        self._standing = Standing(store, MONITOR)
        self._on_look = on_look
        self._lock = threading.Lock()

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look at the windows that end at `now_us`: up to there the log is complete."""
        with self._lock:
            verdicts, changes = self._look(now_us)
            self._standing.take(verdicts)
            # Within the lock, so that the receiver sees looks in order.
            self._on_look(verdicts, changes)
        return verdicts

    def _look(self, now_us: int) -> tuple[list[Verdict], list[Change]]:
        verdicts, changes = [], []
        if self._objectives:
            with self._store.snapshot() as log:
                past = self._past.read(log, now_us)
            for one in self._objectives:
                tallies = tallies_of(past, now_us, one.route, one.slo.variant, one.good)
                before = self._standing.last(one.key)
                verdict = self._judge(one, tallies, before, now_us)
                verdicts.append(verdict)
                # Closed alerts are told of too: after a crash one may have stayed open.
                changes.append(_change_of(one, verdict))
        watched = {one.key for one in self._objectives}
        why = (
            "the configuration has no such objective"
            if self._config.enabled
            else "`monitors.enabled` is false"
        )
        gone = self._standing.gone(watched, now_us, why)
        changes += [change("resolved", last, last.feature, {}) for last in gone]
        return [*verdicts, *gone], changes

    def _judge(
        self, one: Objective, tallies: Tallies, before: Verdict | None, now_us: int
    ) -> Verdict:
        limits = (one.slo.min_samples, self._config.clear_after)
        found = judge(tallies, one.slo.objective, memory_of(before), at_us=now_us, limits=limits)
        verdict = verdict_of(one, found, tallies, now_us)
        if not (is_open(before) and found.silent and not found.memory.open):
            return verdict
        why = (
            f"objective `{one.name}` of {_where(one)} burned its error budget; it ended, but no"
            f" recovery was seen: no data, fewer than {one.slo.min_samples} requests in the windows"
            " that tell"
        )
        details = {**verdict.details, "cause": why, "no_data": True}
        return msgspec.structs.replace(verdict, details=details)


def _change_of(one: Objective, verdict: Verdict) -> Change:
    event = "opened" if is_open(verdict) else "resolved"
    subject = one.name if not verdict.segment else f"{one.name} ({verdict.segment})"
    return change(event, verdict, subject, {"slo": one.name, **_shown(verdict)})


def _shown(verdict: Verdict) -> dict[str, object]:
    names = ("objective", "measure", "limit_s", "budget_left", "bad", "windows", "no_data")
    return {name: verdict.details[name] for name in names if name in verdict.details}


def memory_of(before: Verdict | None) -> Memory:
    """Return where an objective stood, from its verdict of the look before."""
    if before is None:
        return Memory()
    details = before.details
    page_at, calm = details.get("page_at"), details.get("calm_looks")
    page = page_at if isinstance(page_at, int) else 0
    if not is_open(before):
        return Memory(page_at=page)
    known = details.get("severity")
    severity: Severity = "critical" if known == "critical" else "warning"
    return Memory(
        open=True,
        calm_looks=calm if isinstance(calm, int) else 0,
        severity=severity,
        page_at=page,
    )


def verdict_of(one: Objective, found: Burn, tallies: Tallies, at_us: int) -> Verdict:
    """Return a look's verdict: the burn rate of the rule that burns most, over its factor."""
    route, segment, name = one.key
    memory, budget = found.memory, 1.0 - one.slo.objective
    return Verdict(
        id=f"{MONITOR}:{route}:{segment}:{name}:{at_us}",
        at=at_us,
        monitor=MONITOR,
        route=route,
        feature=name,
        kind="numeric",
        verdict="breach" if memory.open else _word(found, tallies),
        severity=memory.severity if memory.open else "none",
        statistic=BURN_RATE,
        value=found.value if found.tally.n else None,
        low=found.interval.low if found.tally.n else None,
        high=found.interval.high if found.tally.n else None,
        threshold=found.rule.factor,
        n_reference=0,
        n_current=found.tally.n,
        window_from=start_of(at_us, found.rule.long_s),
        window_to=at_us,
        baseline="",
        details={
            "open": memory.open,
            "calm_looks": memory.calm_looks,
            "severity": memory.severity,
            "page_at": memory.page_at,
            "cause": _sentence(one, found),
            "objective": one.slo.objective,
            "measure": one.good.measure,
            "limit_s": one.good.most_s or None,
            "budget_left": found.budget_left,
            "bad": found.tally.bad,
            "windows": [
                {"window_s": s, "n": t.n, "bad": t.bad, "burn_rate": t.burn(budget)}
                for s, t in ((s, tallies[s]) for s in (*WINDOWS_S, BUDGET_S))
            ],
        },
        segment=segment,
    )


def _word(found: Burn, tallies: Tallies) -> Literal["ok", "not_enough_data", "stale"]:
    if found.enough:
        return "ok"
    return "not_enough_data" if tallies[RULES[-1].long_s].n else "stale"


def _where(one: Objective) -> str:
    variant = "" if one.slo.variant is None else f", variant `{one.slo.variant}`"
    return f"route `{one.route}`{variant}"


def _sentence(one: Objective, found: Burn) -> str:
    where = _where(one)
    hours = found.rule.long_s / 3600
    span = f"{hours:g} h" if hours < 48 else f"{hours / 24:g} d"
    told = f"{found.tally.bad:,} of {found.tally.n:,} requests {_WORDS[one.good.measure]} in {span}"
    if not found.memory.open:
        return f"objective `{one.name}` of {where} holds: {told}, burn rate {found.value:.2g}"
    left = "the budget of 30 days is spent"
    if found.budget_left > 0.0:
        left = f"{found.budget_left:.0%} of the budget is left"
    return (
        f"objective `{one.name}` of {where} ({one.slo.objective:.4g}) burns its error budget at"
        f" {found.value:.3g} times the rate that 30 days allow: {told};"
        f" {left}"
    )
