"""What is asked of the log once, when an episode opens: examples, first row, what else changed."""

from collections.abc import Mapping

import msgspec

from monitors.baselines import Reference
from monitors.cell_words import JOINED
from monitors.explain.decompose import carrier_text, carriers, split
from monitors.explain.rows import FeatureRows
from monitors.shock import Span, what_changed
from monitors.windows import SECOND_US
from monitors.windows import Window as Period
from stats.categories import Cells
from stats.cells import NumericCells
from storage.log_reader import LogReader
from storage.monitor_reads import baseline_head
from storage.new_rows import Among
from storage.reader import Scope, Window
from storage.records import Verdict

EXAMPLES = 3
"""Predictions of the cell that moved most."""
BEFORE_US = 3_600 * SECOND_US
"""How far back the traffic is compared with that since the onset."""
MOST_TO_SPLIT = 200_000
"""Rows of both windows up to which they are split over segments: some 0.1 s."""
_SCOPED = ("variant", "model")


def told(
    log: LogReader, verdict: Verdict, reference: Reference, examples: tuple[str, ...]
) -> Verdict:
    """Return a verdict that opens an episode, with what the log shows of it.

    Parameters
    ----------
    examples : tuple of str
        New categories, most frequent first.
    """
    window = Window(verdict.window_from, verdict.window_to)
    scope = _scope(verdict, window)
    details: dict[str, object] = {}
    rows = log.counts(scope)
    if rows:
        details["first_at"] = min(row.first_at for row in rows)
    onset = _onset(verdict)
    early = Window(onset - BEFORE_US, onset)
    before = log.counts(_scope(verdict, early))
    since = log.counts(_scope(verdict, Window(onset, window.to_us)))
    changed = what_changed(
        Span.before(before, *early), Span(since, (window.to_us - onset) / SECOND_US)
    )
    if changed:
        details["changed"] = changed
    carried = _carried(log, verdict, reference)
    if carried:
        details["carried_by"] = carried
    among = _among(verdict, reference.cells, examples)
    if among is not None and _is_scoped(verdict):
        details["sample_ids"] = log.ids_in(scope, verdict.feature, among, limit=EXAMPLES)
    return msgspec.structs.replace(verdict, details={**verdict.details, **details})


def _carried(log: LogReader, verdict: Verdict, reference: Reference) -> str:
    """Return which segment carries a change of all rows; empty where none does, or to find out."""
    if verdict.segment or verdict.n_reference + verdict.n_current > MOST_TO_SPLIT:
        return ""
    head = baseline_head(log.connection, verdict.route, verdict.baseline)
    if head is None:
        return ""
    parts = FeatureRows(log, head, reference).parts(Period(verdict.window_from, verdict.window_to))
    splits = {
        key: found
        for key, part in parts.items()
        if (found := split(key, part.reference, part.current, weighed=part.weighed)) is not None
    }
    return next((carrier_text(one) for one in carriers(splits)), "")


def _onset(verdict: Verdict) -> int:
    onset = verdict.details.get("onset_at")
    return min(onset, verdict.window_to - 1) if isinstance(onset, int) else verdict.window_from


def _is_scoped(verdict: Verdict) -> bool:
    return not verdict.segment or verdict.segment.partition("=")[0] in _SCOPED


def _scope(verdict: Verdict, window: Window) -> Scope:
    key, _, value = verdict.segment.partition("=")
    scope = Scope(window, route=verdict.route)
    if key == "variant":
        return scope._replace(variant=value)
    return scope._replace(model=value) if key == "model" else scope


def _among(verdict: Verdict, cells: Cells, examples: tuple[str, ...]) -> Among | None:
    parts = verdict.details.get("contributions")
    if not isinstance(parts, list) or not parts:
        return None
    grown = [part for part in parts if _grew(part)]
    label = str((grown or parts)[0]["cell"])
    if label == "missing":
        return Among()
    if label == "new":
        return Among(value=examples[0]) if examples else None
    if isinstance(cells, NumericCells):
        return _between(cells, label)
    return Among(value=label) if label in cells.top else None


def _grew(part: object) -> bool:
    return isinstance(part, Mapping) and part["current"] > part["reference"]


def _between(cells: NumericCells, label: str) -> Among | None:
    names = cells.labels()
    first, _, last = label.partition(JOINED)
    if first not in names or (last and last not in names):
        return None
    low, high = names.index(first), names.index(last or first)
    if high >= cells.ordered:
        return None
    edges = cells.edges
    return Among(edges[low - 1] if low else None, edges[high] if high < len(edges) else None)
