"""One look at the quality of data: contracts, rates against the baseline, schemas.

Rates that nobody declared are watched of model inputs alone: of the signals of answers drift sees
missing and new values itself, and they follow from failures, which are objectives' business.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from monitors.baselines import Reference, choose_baseline, label, read_references
from monitors.breaches import Standing, Store, change, is_open, key_of
from monitors.budget import QUALITY
from monitors.embeddings.names import group_of
from monitors.endings import has_ended
from monitors.episodes import Change
from monitors.errors import MonitorError
from monitors.options import MonitorOptions
from monitors.quality.checks import (
    INPUT,
    Levels,
    Seen,
    contract_checks,
    is_declared,
    rate_checks,
    seen_of,
    standstill,
    varies,
)
from monitors.quality.judge import Finding, Limits, found
from monitors.quality.schemas import SCHEMA, schema_verdict
from monitors.quality.verdicts import MONITOR, Look, has_varied, unseen, verdict_of
from monitors.silence import is_no_data
from monitors.slo.run import OnLook
from monitors.windows import SECOND_US
from storage.features.changes import schema_changes
from storage.log_reader import LogReader
from storage.monitor_reads import WRITTEN_US
from storage.reader import Scope, Window
from storage.records import Baseline, Verdict

TOP_FEATURES = 5
TOLD_BY = "told_by"
"""In a verdict's details: another monitor's alert has told it."""
_CHECKS = 4
"""Rates of an input that the budget is shared by."""
_DAYS_30_S = 30 * 86_400.0


class QualityStore(Store, Protocol):
    """What this monitor reads beside."""

    def baseline_heads(self, route: str) -> Sequence[Baseline]:
        """Return every version of every baseline of a route, without its cells."""
        ...

    def load_baseline(self, route: str, name: str, version: int) -> Baseline | None:
        """Return one version of a baseline, or None."""
        ...


class _Prepared(NamedTuple):
    """A route's baseline, read; without one there is nothing to compare with."""

    name: str = ""
    created_at: int = 0
    inputs: Mapping[str, Reference] = {}


class QualityRun:
    """Looks at every route's data; call `run_once` from a thread, never from the loop.

    Parameters
    ----------
    routes : sequence of str
        Names from the configuration.
    on_look : callable
        Takes the verdicts and changes of a look once they are saved.
    """

    def __init__(
        self, store: QualityStore, config: MonitorOptions, routes: Sequence[str], on_look: OnLook
    ) -> None:
        self._store = store
        self._config = config
        self._routes = tuple(routes) if config.enabled and config.quality.enabled else ()
        self._contracts = {
            name: feature
            for name, feature in config.features.items()
            if feature.enabled and is_declared(feature)
        }
        self._standing = Standing(store, MONITOR, keep_us=WRITTEN_US)
        self._on_look = on_look
        self._lock = threading.Lock()
        self._prepared: dict[str, _Prepared] = {}

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look at the window that ends at `now_us`."""
        with self._lock:
            verdicts = self._look(now_us) if self._routes else []
            watched = {key_of(verdict) for verdict in verdicts}
            why = "the configuration watches it no more"
            verdicts += self._standing.gone(watched, now_us, why)
            verdicts = self._marked(verdicts)
            self._standing.take(verdicts)
            self._on_look(verdicts, list(_changes(verdicts)))
        return verdicts

    def _look(self, now_us: int) -> list[Verdict]:
        window = Window(now_us - round(self._config.window * SECOND_US), now_us)
        references = {route: self._prepare(route) for route in self._routes}
        names = {*self._contracts, *(n for one in references.values() for n in one.inputs)}
        verdicts: list[Verdict] = []
        with self._store.snapshot() as log:
            scope = Scope(window)
            asked = sorted(names)
            seen = seen_of(log.values(scope, asked), log.categories(scope, asked)) if asked else {}
            for route in self._routes:
                look = Look(now_us, route, window, references[route].name, self._config.clear_after)
                verdicts += self._features(log, look, references[route], seen)
            if self._config.quality.new_inputs:
                changed = schema_changes(log.connection, window)
                looks = (
                    Look(now_us, route, window, "", self._config.clear_after)
                    for route in self._routes
                )
                verdicts += [
                    schema_verdict(look, changed, self._standing.last((look.route, "", SCHEMA)))
                    for look in looks
                ]
        return verdicts

    def _features(
        self,
        log: LogReader,
        look: Look,
        prepared: _Prepared,
        seen: Mapping[tuple[str, str], Seen],
    ) -> Iterator[Verdict]:
        cells = log.cells(Scope(look.window, route=look.route), look.baseline)
        limits = self._limits(len(prepared.inputs))
        for feature in dict.fromkeys((*self._contracts, *prepared.inputs)):
            now = seen.get((look.route, feature))
            before = self._standing.last((look.route, "", feature))
            if now is None:
                # A contract on what a route does not have is no business of that route.
                if before is not None or feature in prepared.inputs:
                    yield unseen(look, feature, before)
                continue
            findings = list(self._contract_findings(feature, now, limits))
            reference = prepared.inputs.get(feature)
            if reference is not None and cells:
                findings += self._rate_findings(reference, cells.get(feature, {}), limits)
            still = None
            if reference is not None and has_varied(before):
                still = standstill(reference, now, limits)
            findings += [] if still is None else [still]
            varied = has_varied(before) or varies(now, limits)
            yield verdict_of(look, feature, findings, before, varied=varied)

    def _contract_findings(self, feature: str, now: Seen, limits: Limits) -> Iterator[Finding]:
        contract = self._contracts.get(feature)
        for check in contract_checks(now, contract) if contract is not None else ():
            finding = found(check, limits)
            if finding is not None:
                yield finding

    def _rate_findings(
        self, reference: Reference, cells: Mapping[int, int], limits: Limits
    ) -> Iterator[Finding]:
        material = self._config.material
        levels = Levels(material.share, material.new_share, self._config.quality.outliers)
        for check in rate_checks(reference, cells, levels):
            finding = found(check, limits, reference.dispersion)
            if finding is not None:
                yield finding

    def _limits(self, inputs: int) -> Limits:
        looks = max(1.0, _DAYS_30_S / self._config.every)
        spent = QUALITY * self._config.false_alarms_per_30d
        alpha = spent / (looks * max(1, inputs) * _CHECKS)
        return Limits(min(0.05, alpha), self._config.min_samples)

    def _prepare(self, route: str) -> _Prepared:
        try:
            chosen = choose_baseline(self._store.baseline_heads(route), route)
            known = self._prepared.get(route)
            # Once dropped, a baseline's name and version may be taken by another one.
            if known is None or (known.name, known.created_at) != (
                label(chosen),
                chosen.created_at,
            ):
                known = _Prepared(label(chosen), chosen.created_at, self._inputs(chosen))
        except MonitorError:
            known = _Prepared()
        self._prepared[route] = known
        return known

    def _inputs(self, chosen: Baseline) -> dict[str, Reference]:
        off = {name for name, feature in self._config.features.items() if not feature.enabled}
        whole = self._store.load_baseline(chosen.route, chosen.name, chosen.version)
        return {
            name: reference
            for name, reference in (read_references(whole) if whole is not None else {}).items()
            # Of an embedding's directions drift alone has something to say.
            if name.startswith(INPUT) and name not in off and group_of(name) is None
        }

    def _marked(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Mark what an open alert of drift tells already, unless it was told here before."""
        if not any(map(is_open, verdicts)):
            return verdicts
        newest = self._store.latest_verdicts(None, "drift")
        drifted = {(verdict.route, verdict.feature) for verdict in newest if is_open(verdict)}
        marked = []
        for verdict in verdicts:
            before = self._standing.last(key_of(verdict))
            told_here = is_open(before) and not _is_told(before)
            if is_open(verdict) and (verdict.route, verdict.feature) in drifted and not told_here:
                details = {**verdict.details, TOLD_BY: "drift"}
                verdict = msgspec.structs.replace(verdict, details=details)  # noqa: PLW2901  (marked)
            marked.append(verdict)
        return marked


def _is_told(verdict: Verdict | None) -> bool:
    return verdict is not None and TOLD_BY in verdict.details


def _changes(verdicts: Sequence[Verdict]) -> Iterator[Change]:
    """Return one change for each route; what drift tells already opens nothing here."""
    routes: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        routes.setdefault(verdict.route, []).append(verdict)
    for found_ in routes.values():
        opened = [v for v in found_ if is_open(v) and not _is_told(v)]
        ranked = sorted(opened, key=lambda v: (v.severity != "critical", -(v.value or 0.0)))
        gone = (verdict for verdict in found_ if is_no_data(verdict))
        lead = ranked[0] if ranked else next(gone, found_[0])
        data: dict[str, object] = {
            "features_breached": len(ranked),
            "features": [_digest(verdict) for verdict in ranked[:TOP_FEATURES]],
        }
        changed = change("opened" if ranked else "resolved", lead, MONITOR, data)
        if not ranked and not any(map(has_ended, found_)):
            over = f"quality on route `{lead.route}` is over: {_seen_of(found_)}"
            changed = dataclasses.replace(changed, summary=over)
        yield changed


def _seen_of(verdicts: Sequence[Verdict]) -> str:
    told = sum(1 for verdict in verdicts if is_open(verdict))
    if told:
        return f"drift tells what is left of {told} of {len(verdicts)} features"
    return f"none of {len(verdicts)} features is in breach"


def _digest(verdict: Verdict) -> dict[str, object]:
    names = ("cause", "declared", "p_value", "share", "checks")
    return {
        "feature": verdict.feature,
        "severity": verdict.severity,
        "statistic": verdict.statistic,
        "value": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "n_reference": verdict.n_reference,
        "n_current": verdict.n_current,
        **{name: verdict.details[name] for name in names if name in verdict.details},
    }
