"""From the prediction log to the state of drift, and to its explanation."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from monitors.baselines import Reference, choose_baseline, label, read_references
from monitors.embeddings.names import finding_of
from monitors.errors import NoBaseline
from monitors.explain.explanation import Subject, explain_one
from monitors.explain.model import DRIFT_VERSION, DriftExplained, DriftState, Explanation
from monitors.explain.state import DriftQuery, Known, StreamName, drift_state
from monitors.options import MonitorOptions
from monitors.references.choosing import awaited
from monitors.report.parts import Interval
from monitors.schedule import is_open
from monitors.streams import OTHER
from monitors.verdicts import MONITOR
from storage import monitor_reads
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline, Verdict
from storage.repository import Repository

MOST_EXPLAINED = 10
"""Streams that are explained at once; what is left out is said."""


class _Route(NamedTuple):
    baseline: Baseline
    references: Mapping[str, Reference]


def build_state(
    repository: Repository, query: DriftQuery, config: MonitorOptions, now_us: int
) -> DriftState:
    """Return the state of every stream that is asked for; blocks for as long as the reads take.

    Raises
    ------
    StorageError
        The log cannot be read.
    """
    detectors = repository.load_detectors()
    heads = repository.baseline_heads(query.route)
    with repository.snapshot() as log:
        known = Known(_verdicts(log, query), detectors, heads, _awaited(log, query, config, heads))
    return drift_state(known, query, config, now_us)


def build_explanations(
    repository: Repository, query: DriftQuery, config: MonitorOptions, now_us: int
) -> DriftExplained:
    """Explain the feature that is asked for, or what drifts now; blocks as `build_state` does.

    Raises
    ------
    NoBaseline
        There is nothing to compare with: no such baseline, feature or segment.
    BaselineInvalid
        A stored baseline cannot be read.
    StorageError
        The log cannot be read.
    """
    baselines = repository.load_baselines(query.route)
    with repository.snapshot() as log:
        verdicts = _verdicts(log, query)
        newest = {(v.route, v.segment, v.feature): v for v in verdicts if v.monitor == MONITOR}
        routes: dict[str, _Route] = {}
        wanted = _wanted(query, newest, baselines)
        found: list[Explanation] = []
        for name in wanted[:MOST_EXPLAINED]:
            if name[0] not in routes:
                routes[name[0]] = _route(baselines, name[0], query.baseline)
            subject = _subject(routes[name[0]], name)
            stored = newest.get(name)
            found.append(explain_one(log, subject, query, config, (stored, verdicts)))
        told = () if wanted else _awaited(log, query, config, baselines)
    compared = sum(v.value is not None and query.has(*name) for name, v in newest.items())
    return DriftExplained(
        version=DRIFT_VERSION,
        generated_at=now_us,
        interval=Interval(query.window.from_us, query.window.to_us),
        explanations=tuple(found),
        notes=(*_notes(wanted, compared), *told),
        compared=compared,
    )


def _verdicts(log: LogReader, query: DriftQuery) -> list[Verdict]:
    window = ReadWindow(query.window.from_us, query.window.to_us)
    return monitor_reads.newest_verdicts(log.connection, window, query.route)


def _wanted(
    query: DriftQuery, newest: Mapping[StreamName, Verdict], baselines: Sequence[Baseline]
) -> list[StreamName]:
    if query.feature is None:
        drifting = [(v, name) for name, v in newest.items() if is_open(v) and query.has(*name)]
        drifting.sort(key=lambda one: (one[0].severity != "critical", -(one[0].value or 0.0)))
        # Of an embedding the direction that moved most stands for all of them.
        first = {(n[0], n[1], finding_of(n[2])): n for _, n in reversed(drifting)}
        names = [name for _, name in drifting if name in first.values()]
        # What all rows do is split over segments; beside it they are named as related.
        return [n for n in names if not n[1] or query.segment or (n[0], "", n[2]) not in names]
    routes = sorted({baseline.route for baseline in baselines})
    if not routes:
        # Says how to set one.
        choose_baseline(baselines, query.route or "*", query.baseline)
    named = [
        (route, query.segment, feature)
        for route in routes
        if (feature := _asked(query, route, newest, baselines)) is not None
    ]
    if not named:
        has = sorted({feature for one in baselines for feature in one.cells})
        raise NoBaseline(
            f"no baseline has the feature `{query.feature}`; there are {', '.join(has)}"
        )
    return named


def _asked(
    query: DriftQuery,
    route: str,
    newest: Mapping[StreamName, Verdict],
    baselines: Sequence[Baseline],
) -> str | None:
    """Return the feature that is asked for, if a route's baselines have it.

    Of an embedding it is the part that moved most.
    """
    has = sorted({name for one in baselines if one.route == route for name in one.cells})
    if query.feature in has:
        return query.feature
    parts = [name for name in has if finding_of(name) == query.feature]
    seen = {name: newest.get((route, query.segment, name)) for name in parts}
    return max(parts, key=lambda name: _moved(seen[name]), default=None)


def _moved(verdict: Verdict | None) -> tuple[bool, float]:
    if verdict is None or verdict.value is None:
        return False, -1.0
    return is_open(verdict), verdict.value


def _route(baselines: Sequence[Baseline], route: str, name: str | None) -> _Route:
    wanted, _, version = (name or "").partition("@")
    number = int(version) if version.isdigit() else None
    chosen = choose_baseline(baselines, route, wanted or None, number)
    return _Route(chosen, read_references(chosen))


def _subject(route: _Route, name: StreamName) -> Subject:
    _, segment, feature = name
    reference = route.references.get(feature)
    if reference is None:
        has = ", ".join(sorted(route.references))
        raise NoBaseline(
            f"baseline `{label(route.baseline)}` of route `{route.baseline.route}` has no"
            f" `{feature}`; it has {has}"
        )
    if segment:
        reference = _of_segment(reference, segment)
    return Subject(route.baseline, reference, segment, tuple(route.references))


def _of_segment(reference: Reference, segment: str) -> Reference:
    """Return the reference of a segment; one that it never had is compared with all others."""
    key = segment.partition("=")[0]
    counts = reference.segments.get(segment, reference.segments.get(f"{key}={OTHER}"))
    if counts is None or not counts.any():
        return dataclasses.replace(reference, hours=None)
    return dataclasses.replace(
        reference, rows=int(counts.sum()), counts=counts, sample=None, hours=None
    )


def _awaited(
    log: LogReader, query: DriftQuery, config: MonitorOptions, baselines: Sequence[Baseline]
) -> tuple[str, ...]:
    """Say of each route with traffic and no baseline when it gets one."""
    window = ReadWindow(query.window.from_us, query.window.to_us)
    asked = {row.route for row in log.counts(Scope(window, route=query.route))}
    found = (
        awaited(log, config, route, query.window.to_us)
        for route in sorted(asked - {one.route for one in baselines})
    )
    return tuple(note for note in found if note is not None)


def _notes(wanted: Sequence[StreamName], compared: int) -> Iterator[str]:
    if not wanted and not compared:
        yield (
            "no stream had enough rows to be compared in this interval: that is no word on drift;"
            " `monitor drift` shows what is there, `--feature` explains one all the same"
        )
    elif not wanted:
        yield (
            "nothing drifts; `--feature` explains one all the same, and `monitor drift` without"
            " `--explain` shows where each stream stands"
        )
    if len(wanted) > MOST_EXPLAINED:
        left = ", ".join(
            f"{route} {feature}{f' of {segment}' if segment else ''}"
            for route, segment, feature in wanted[MOST_EXPLAINED:]
        )
        yield f"the {MOST_EXPLAINED} largest are explained; --feature shows the others: {left}"
