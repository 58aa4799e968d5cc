"""References from the prediction log: a period, the newest rows, or another variant's rows."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np

from monitors.errors import BaselineInvalid
from monitors.options import MonitorOptions
from monitors.references.rows import Groups, Members
from monitors.references.stored import (
    MOST_FEATURES,
    OTHER_VALUES,
    SEASON_US,
    SEGMENT_VALUES,
    Plan,
    stored_form,
)
from monitors.signals.table import SIGNALS, Kind
from monitors.windows import SECOND_US, Window, from_us
from stats.arrays import CountArray, FloatArray
from storage import reference_reads as reads
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline

DAY_US = 86_400 * SECOND_US


class Store(Protocol):
    """Where references are made of and kept; safe to call from a thread."""

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


class Period(NamedTuple):
    """Rows of the log that become a reference.

    Attributes
    ----------
    source : dict
        What `Baseline.source` says of it: `kind` at least.
    variant : str or None
        Rows of this variant alone; every variant is compared with them.
    seasonal : bool
        Keep counts by hour of the week; the period is at least `SEASON_US` long.
    """

    name: str
    route: str
    window: Window
    source: Mapping[str, object]
    variant: str | None = None
    seasonal: bool = False

    @property
    def scope(self) -> Scope:
        """Its rows."""
        window = ReadWindow(self.window.from_us, self.window.to_us)
        return Scope(window, route=self.route, variant=self.variant)


def make(store: Store, config: MonitorOptions, period: Period, now_us: int) -> Baseline:
    """Build a reference from the log and save it as a new version.

    It holds every signal and every input of the route's models, disabled ones too.

    Raises
    ------
    BaselineInvalid
        The period holds too few rows, or is too short for hours of the week.
    """
    with store.snapshot() as log:
        built = build(log, config, period, now_us)
    return store.add_baseline(built)


def build(log: LogReader, config: MonitorOptions, period: Period, now_us: int) -> Baseline:
    """Build version 1 of a reference; see `make`."""
    scope = period.scope
    span = reads.span_of(log.connection, scope)
    _check(period, span, config.min_samples)
    variants = scope._replace(variant=None)
    segments = reads.segment_values(log.connection, scope, config.segments, SEGMENT_VALUES)
    keys = reads.GroupKeys(segments, config.dependence.key if config.dependence else None)
    inputs = reads.inputs_of(log.connection, variants)
    wanted = _features(inputs)
    plan = Plan(max(1, round(config.every * SECOND_US)), period.seasonal)
    cells: dict[str, object] = {}
    for feature, kind in wanted.items():
        options = config.features.get(feature)
        declared = None if options is None else options.discrete
        stored = stored_form(_LogRows(log, scope, keys, (feature, kind), declared), plan)
        if stored is not None:
            cells[feature] = stored
    if not cells:
        raise BaselineInvalid(
            f"baseline `{period.name}` of route `{period.route}`: its window holds {span.rows}"
            " rows, too few for any feature; choose a longer one with `monitor baseline set`"
        )
    if period.variant is not None and "variant" in config.segments:
        known = reads.segment_values(log.connection, variants, ["variant"], SEGMENT_VALUES)
        _stand_for(cells, known["variant"])
    source = dict(period.source)
    if len(wanted) < len(SIGNALS) + len(inputs):
        source["left_out"] = len(SIGNALS) + len(inputs) - len(wanted)
    return Baseline(
        name=period.name,
        version=1,
        created_at=now_us,
        window_from=period.window.from_us,
        window_to=period.window.to_us,
        route=period.route,
        rows=span.rows,
        cells=cells,
        source=source,
    )


def _features(inputs: Mapping[str, bool]) -> dict[str, Kind]:
    found: dict[str, Kind] = {signal.name: signal.kind for signal in SIGNALS}
    for name, is_number in inputs.items():
        if len(found) < MOST_FEATURES:
            found[name] = "numeric" if is_number else "categorical"
    return found


def _check(period: Period, span: reads.Span, least_rows: int) -> None:
    whose = "" if period.variant is None else f" of variant `{period.variant}`"
    if span.rows < least_rows:
        raise BaselineInvalid(
            f"route `{period.route}` has {span.rows} rows{whose} in the period, too few for a"
            f" baseline; `monitors.min_samples` is {least_rows}, choose a longer period"
        )
    if not period.seasonal or span.first_at is None or span.last_at is None:
        return
    if span.last_at - span.first_at < SEASON_US - DAY_US:
        raise BaselineInvalid(
            f"route `{period.route}` has rows{whose} from {from_us(span.first_at)} to"
            f" {from_us(span.last_at)}; hours of the week need two weeks of them: choose a longer"
            " period, or go without `seasonal`"
        )


def _stand_for(cells: Mapping[str, object], variants: Sequence[str]) -> None:
    """Let the rows of one variant be the reference of each, also of those still to come."""
    for stored in cells.values():
        assert isinstance(stored, dict), "made by `stored_form`"
        own = {f"variant={name}": stored["counts"] for name in (*variants, OTHER_VALUES)}
        stored["segments"] = {**stored.get("segments", {}), **own}


class _LogRows:
    """A feature of the log's rows; each read is one scan."""

    def __init__(
        self,
        log: LogReader,
        scope: Scope,
        keys: reads.GroupKeys,
        feature: tuple[str, Kind],
        discrete: bool | None,  # noqa: FBT001 (declared, or not)
    ) -> None:
        self._connection = log.connection
        self._scope = scope
        self._keys = keys
        self._feature, self.kind = feature
        self.discrete = discrete

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Read the rows of a number."""
        found = reads.number_rows(self._connection, self._scope, self._feature, self._keys)
        return found.values, self._groups(found)

    def table(self) -> Mapping[str | None, int]:
        """Count the values of a category."""
        return reads.word_counts(self._connection, self._scope, self._feature)

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Read the rows of a category."""
        found = reads.word_rows(self._connection, self._scope, self._feature, top, self._keys)
        return np.asarray(found.values, dtype=np.int64), self._groups(found)

    def _groups(self, found: reads.GroupedRows) -> Groups:
        members = {
            key: Members(tuple(self._keys.segments[key]), bits) for key, bits in found.bits.items()
        }
        return Groups(found.started_at, segments=members, clusters=found.clusters)
