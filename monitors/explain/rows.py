"""What an explanation reads of the log: counts over a baseline's cells, by slot and by segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from monitors.baselines import Reference, label
from monitors.explain.decompose import OTHERS
from monitors.windows import Window
from stats.arrays import CountArray
from stats.categories import Cells
from stats.cells import NumericCells
from storage import cell_tables
from storage.cell_tables import NO_VALUE, Asked, CellForm, Segment, SlotCounts
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline

KEYS = ("variant", "model", "version", "tenant", "language", "tag")
"""Keys of segments in the order in which people ask for them."""
EXAMPLES = 5

ByValue = Mapping[str, CountArray]
"""Value of a key to rows by cell."""


class Parts(NamedTuple):
    """One key's values then and now.

    Attributes
    ----------
    weighed : bool
        Rows then say how much of the traffic a value had, see `decompose.split`.
    """

    reference: ByValue
    current: ByValue
    weighed: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """One feature of a route, beside its baseline.

    Attributes
    ----------
    segment : str
        `key=value`; empty is all rows.
    """

    log: LogReader
    baseline: Baseline
    reference: Reference
    segment: str = ""

    def has_facts(self, window: Window) -> bool:
        """Say whether the single rows of a window are still there."""
        read = ReadWindow(window.from_us, window.to_us)
        return self.log.coverage(read, exact=True).window == read

    def slots(self, window: Window) -> SlotCounts:
        """Return rows by slot and cell: from the facts, or from roll-ups where those are gone."""
        asked = self._asked(window)
        if self.has_facts(window):
            return cell_tables.slot_counts(self.log.connection, asked)
        return cell_tables.counted_slots(self.log.connection, asked, label(self.baseline))

    def parts(self, window: Window) -> dict[str, Parts]:
        """Return each key's values then and now, without keys that either window does not know.

        Then is the baseline's own window of the log while its rows are there, else what the
        baseline has kept of its segments. Of a segment its own key is split over all rows.
        """
        feature, own = self.reference.feature, self.segment.partition("=")[0]
        if own:
            everything = replace(self, segment="")._inside(window, [own])  # noqa: SLF001 (its own class)
            keys = [key for key in KEYS if key not in {feature, own}]
            return {**everything, **self._inside(window, keys)}
        return self._inside(window, [key for key in KEYS if key != feature])

    def _inside(self, window: Window, keys: Sequence[str]) -> dict[str, Parts]:
        now = self._now(window, keys)
        before = self._logged(keys)
        if before is None:
            before = self._kept()
            now = {key: _as_told(values, before.get(key, {})) for key, values in now.items()}
        found = {
            key: Parts(before[key], now[key])
            for key in keys
            if before.get(key) and now.get(key) and len(before[key].keys() | now[key].keys()) > 1
        }
        if "variant" in self.baseline.source and len(now.get("variant", ())) > 1:
            # Every variant is compared with the one that the baseline is made of.
            law = dict.fromkeys(now["variant"], self.reference.counts)
            return {"variant": Parts(law, now["variant"], weighed=False), **found}
        return found

    def examples(self, window: Window, cells: Sequence[int]) -> list[str]:
        """Return the newest predictions whose value lies in one of some cells."""
        if not cells or not self.has_facts(window):
            return []
        return cell_tables.ids_of_cells(
            self.log.connection, self._asked(window), cells, limit=EXAMPLES
        )

    def _now(self, window: Window, keys: Sequence[str]) -> Mapping[str, ByValue]:
        if self.has_facts(window):
            return cell_tables.key_counts(self.log.connection, self._asked(window), keys)
        scope = Scope(ReadWindow(window.from_us, window.to_us), route=self.baseline.route)
        found: dict[str, dict[str, CountArray]] = {}
        for name in self.reference.segments:
            counted = self.log.cells(scope, label(self.baseline), segment=name)
            key, _, value = name.partition("=")
            counts = np.zeros(self.reference.cells.size, dtype=np.int64)
            for cell, rows in counted.get(self.reference.feature, {}).items():
                counts[cell] = rows
            found.setdefault(key, {})[value] = counts
        return found

    def _kept(self) -> Mapping[str, ByValue]:
        """Return what the baseline itself has of its segments: of the whole alone."""
        kept: dict[str, dict[str, CountArray]] = {}
        for name, counts in self.reference.segments.items() if not self.segment else ():
            key, _, value = name.partition("=")
            kept.setdefault(key, {})[value] = counts
        # Of tags a row may have several, so that their segments do not share out the rows.
        kept.pop("tag", None)
        if "variant" in self.baseline.source:
            kept.pop("variant", None)
        return kept

    def _logged(self, keys: Sequence[str]) -> Mapping[str, ByValue] | None:
        """Return the baseline's rows by key, read again; None where they are not in the log."""
        source = self.baseline.source
        if source.get("kind") in {"file", "columns"}:
            return None
        if self.baseline.window_from >= self.baseline.window_to:
            return None
        window = Window(self.baseline.window_from, self.baseline.window_to)
        if not self.has_facts(window):
            return None
        asked = self._asked(window)
        if "variant" in source:
            if self.segment:
                return None
            keys = [key for key in keys if key != "variant"]
            asked = asked._replace(segment=Segment("variant", str(source["variant"])))
        found = cell_tables.key_counts(self.log.connection, asked, keys)
        return found if any(found.values()) else None

    def _asked(self, window: Window) -> Asked:
        chosen = None
        if self.segment:
            key, _, value = self.segment.partition("=")
            told = [name.partition("=")[2] for name in self._told(key)]
            chosen = Segment(key, value, told)
        return Asked(
            ReadWindow(window.from_us, window.to_us),
            self.baseline.route,
            self.reference.feature,
            form_of(self.reference.cells),
            chosen,
        )

    def _told(self, key: str) -> list[str]:
        return [name for name in self.reference.segments if name.partition("=")[0] == key]


def _as_told(values: ByValue, told: ByValue) -> ByValue:
    """Return counts by the values that a baseline tells apart; rows without one are in none."""
    found: dict[str, CountArray] = {}
    for value, counts in values.items():
        name = value if value in told or OTHERS not in told else OTHERS
        if value != NO_VALUE:
            found[name] = found[name] + counts if name in found else counts
    return found


def form_of(cells: Cells) -> CellForm:
    """Return cells as the log takes them."""
    if isinstance(cells, NumericCells):
        return CellForm(cells.size, edges=cells.edges)
    return CellForm(cells.size, None, cells.top, cells.rest, cells.complete)
