from dataclasses import replace

import numpy as np
import pytest

from monitors.baselines import Reference, build_baseline, read_references
from monitors.drift import Comparison, compare
from monitors.observed import CellCounts, NumericCounts
from monitors.references.stored import hour_of_week
from monitors.seasons import of_window
from monitors.verdicts import has_evidence
from monitors.windows import Window
from stats.buckets import Sketch

HOUR_US = 3_600_000_000
MONDAY = 1_792_972_800_000_000 // HOUR_US * HOUR_US
NIGHT, DAY = MONDAY + 3 * HOUR_US, MONDAY + 15 * HOUR_US


def at(rng: np.random.Generator, start: int, rows: int) -> np.ndarray:
    """Return rows of an hour: longer by day than by night."""
    return np.asarray(rng.normal(2.0 if start == DAY else 0.0, size=rows))


@pytest.fixture
def reference() -> Reference:
    """Return a reference of many nights and days."""
    rng = np.random.default_rng(4)
    parts = {start: at(rng, start, 3_000) for start in (NIGHT, DAY)}
    columns = {"latency_s": np.concatenate(list(parts.values()))}
    whole = read_references(build_baseline("b", "chat", Window(0, 1), columns, 0))["latency_s"]
    hours = np.zeros((168, whole.cells.size), dtype=np.int64)
    for start, rows in parts.items():
        hours[hour_of_week(start)] = whole.cells.count(rows)
    return replace(whole, hours=hours)


@pytest.mark.parametrize(("start", "rows_of", "drifts"), [(DAY, DAY, False), (NIGHT, DAY, True)])
def test_a_window_is_compared_with_its_own_hours(
    reference: Reference, start: int, rows_of: int, *, drifts: bool
) -> None:
    """Days are no drift by day, whatever the nights are like; by night they are."""
    rows = at(np.random.default_rng(5), rows_of, 500)
    for seen in (rows, NumericCounts(Sketch.of(rows), 0, counts_of(reference, rows))):
        part, window = of_window(reference, seen, Window(start, start + HOUR_US))
        found = compare(part, window, alpha=1e-6, min_samples=50)
        assert isinstance(found, Comparison)
        assert found.n_reference == 3_000
        assert has_evidence(found) is drifts


def counts_of(reference: Reference, rows: np.ndarray) -> dict[int, int]:
    """Return rows by the reference's cell."""
    return dict(enumerate(reference.cells.count(rows).tolist()))


def test_hours_count_by_how_much_of_them_a_window_holds(reference: Reference) -> None:
    """Five minutes of an hour and fifty-five of the next are not half and half."""
    hours = np.zeros_like(reference.hours)
    hours[hour_of_week(DAY), 1] = hours[hour_of_week(DAY + HOUR_US), 2] = 1_100
    minute = HOUR_US // 60
    window = Window(DAY + 55 * minute, DAY + 115 * minute)
    part, _ = of_window(replace(reference, hours=hours), np.zeros(100), window)
    assert (part.counts[1], part.counts[2], part.rows) == (100, 1_100, 1_200)


def test_whole_weeks_are_compared_with_the_whole(reference: Reference) -> None:
    """Every hour is in them; the exact distances of rows are there then."""
    week = Window(MONDAY, MONDAY + 168 * HOUR_US)
    rows = np.zeros(100)
    assert of_window(reference, rows, week) == (reference, rows)
    cells = CellCounts(np.ones(reference.cells.size, dtype=np.int64))
    assert of_window(replace(reference, hours=None), cells, week)[1] is cells
