"""What may have caused a change, and what else changed within the hour."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.cause import cause_of
from monitors.drift import Comparison
from monitors.embeddings.names import finding_of, group_of
from monitors.explain import decompose
from monitors.explain.model import Cause, Related
from monitors.explain.rows import FeatureRows
from monitors.shock import Span, shares_moved, what_changed
from monitors.windows import SECOND_US, Window, from_us
from storage import cell_tables
from storage.cell_tables import Asked, CellForm
from storage.features.changes import schema_changes
from storage.features.counting import INPUT
from storage.features.schema import FLAG, NUMBER, TEXT
from storage.monitor_reads import RolloutEvent
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Verdict

HOUR_US = 3_600 * SECOND_US
NEAR_US = 600 * SECOND_US
"""How far from the onset's range a step of a rollout may lie to be named."""
MOST_EVENTS = 3
MOST_RELATED = 12
_ONE_CELL = CellForm(3)
"""Cells of a category of which nothing is known: every row is new or missing."""


_TYPES = {NUMBER: "a number", FLAG: "a flag", TEXT: "text"}


class Moment(NamedTuple):
    """When a change began: the slot, its range, and the end of the interval."""

    at: int
    first: int
    last: int
    until: int


def causes_of(
    comparison: Comparison | None,
    carriers: Sequence[decompose.Carrier],
    events: Sequence[RolloutEvent],
    changed: Sequence[str],
) -> tuple[Cause, ...]:
    """Return what may have caused a change: what the values show, who carries it, what else."""
    found: list[Cause] = []
    if comparison is not None:
        found.append(Cause(*cause_of(comparison)))
    found += [Cause(one.kind, decompose.carrier_text(one)) for one in carriers]
    found += [
        Cause("rollout", f"rollout at {from_us(one.at)}: {one.summary or one.event}")
        for one in events
    ]
    found += [Cause("traffic", text) for text in changed]
    return tuple(found)


def rollouts_near(events: Sequence[RolloutEvent], moment: Moment) -> list[RolloutEvent]:
    """Return the steps of rollouts about the onset, the nearest first."""
    near = [e for e in events if moment.first - NEAR_US <= e.at <= moment.last + NEAR_US]
    near.sort(key=lambda e: (abs(e.at - moment.at), e.at))
    return near[:MOST_EVENTS]


def retyped(rows: FeatureRows, moment: Moment) -> Iterator[Cause]:
    """Yield how an input's type changed about the onset: values of another type are missing."""
    feature = rows.reference.feature
    if not feature.startswith(INPUT):
        return
    name = feature.removeprefix(INPUT)
    window = ReadWindow(moment.first - HOUR_US, moment.until)
    for one in schema_changes(rows.log.connection, window):
        kinds = sorted({field.kind for field in one.added if field.name == name})
        before = sorted({kind for known, kind in one.before if known == name})
        if before and kinds and rows.baseline.route in one.routes:
            came = ", ".join(_TYPES[kind] for kind in kinds)
            was = ", ".join(_TYPES[kind] for kind in before)
            text = f"`{name}` comes as {came} since {from_us(one.at_us)}, it was {was}"
            yield Cause("schema", text)


def changed_then(rows: FeatureRows, moment: Moment) -> list[str]:
    """Return what else of the route's traffic changed between the hour before and since."""
    before = Window(moment.at - HOUR_US, moment.at)
    after = Window(moment.at, max(moment.at + 1, min(moment.until, moment.at + HOUR_US)))
    route = rows.baseline.route
    counts = [
        rows.log.counts(Scope(ReadWindow(w.from_us, w.to_us), route=route)) for w in (before, after)
    ]
    found = what_changed(
        Span.before(counts[0], before.from_us, before.to_us), Span(counts[1], after.length_s)
    )
    if not (rows.has_facts(before) and rows.has_facts(after)):
        return found
    shares = [_shares_of(rows, window) for window in (before, after)]
    for key in ("version", "tenant"):
        if all(one[key] for one in shares):
            found += shares_moved(key, shares[0][key], shares[1][key])
    return found


def _shares_of(rows: FeatureRows, window: Window) -> dict[str, dict[str, float]]:
    asked = Asked(ReadWindow(window.from_us, window.to_us), rows.baseline.route, "error", _ONE_CELL)
    counted = cell_tables.key_counts(rows.log.connection, asked, ("version", "tenant"))
    return {key: _as_shares(values) for key, values in counted.items()}


def _as_shares(values: Mapping[str, np.typing.NDArray[np.int64]]) -> dict[str, float]:
    total = sum(int(counts.sum()) for counts in values.values())
    return {value: int(counts.sum()) / total for value, counts in values.items()}


def related_to(
    verdicts: Sequence[Verdict], stream: tuple[str, str, str], moment: Moment
) -> tuple[Related, ...]:
    """Return what other monitors found that began within an hour of the onset, nearest first."""
    found = []
    for verdict in verdicts:
        since = began(verdict)
        name = verdict.monitor, verdict.segment, finding_of(verdict.feature)
        itself = name == ("drift", stream[1], finding_of(stream[2]))
        if itself or verdict.route not in {stream[0], "*"} or since is None:
            continue
        if not moment.first - HOUR_US <= since <= moment.last + HOUR_US:
            continue
        found.append(
            Related(
                monitor=verdict.monitor,
                feature=verdict.feature,
                segment=verdict.segment,
                verdict=verdict.verdict,
                severity=verdict.severity,
                began_at=since,
                cause=str(verdict.details.get("cause", "")),
            )
        )
    found.sort(key=lambda one: (abs(one.began_at - moment.at), one.monitor, one.feature))
    # Of another embedding one direction stands for all of them.
    first = {(one.monitor, one.segment, finding_of(one.feature)): one for one in reversed(found)}
    told = [one for one in found if group_of(one.feature) is None or one in first.values()]
    return tuple(told[:MOST_RELATED])


def began(verdict: Verdict) -> int | None:
    """Return when what a verdict tells of began; None where it tells of nothing."""
    details = verdict.details
    if details.get("open") is not True and verdict.verdict not in {"drift", "breach"}:
        return None
    for name in ("onset_at", "opened_at"):
        at = details.get(name)
        if isinstance(at, int) and at:
            return at
    return verdict.window_from
