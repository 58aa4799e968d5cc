import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from monitors.baselines import (
    Column,
    build_baseline,
    choose_baseline,
    label,
    read_references,
)
from monitors.errors import BaselineInvalid, NoBaseline
from monitors.references.stored import SAMPLE_ROWS, order_statistics
from monitors.windows import Window, from_us, to_us, window_ending
from stats.ecdf import Ecdf
from storage.records import Baseline

WINDOW = Window(0, 3_600_000_000)
HOUR_US = 3_600_000_000


def a_baseline(rows: int = 1000, **fields: object) -> Baseline:
    """Return a baseline of two features, with other fields if given."""
    rng = np.random.default_rng(1)
    columns = {
        "latency_s": rng.lognormal(0.0, 1.0, rows),
        "language": rng.choice(["en", "de"], rows).tolist(),
    }
    built = build_baseline("week", "chat", WINDOW, columns, created_at=5)
    return msgspec.structs.replace(built, **fields)


def test_a_baseline_survives_its_way_through_the_database() -> None:
    """Written as JSON and read again it compares as before."""
    built = a_baseline()
    cells = json.loads(json.dumps(built.cells))
    before = read_references(built)
    after = read_references(msgspec.structs.replace(built, cells=cells))
    assert after["latency_s"].cells == before["latency_s"].cells
    assert after["latency_s"].counts.tolist() == before["latency_s"].counts.tolist()
    sample, again = before["latency_s"].sample, after["latency_s"].sample
    assert sample is not None
    assert again is not None
    assert again.support.tolist() == sample.support.tolist()
    assert after["language"].cells == before["language"].cells


def test_counts_hold_every_row() -> None:
    """Missing rows are rows of the reference too."""
    column = [None if i % 4 == 0 else float(i) for i in range(400)]
    built = build_baseline("b", "chat", WINDOW, {"ttft_s": column}, 0)
    reference = read_references(built)["ttft_s"]
    assert (reference.rows, int(reference.counts.sum())) == (400, 400)
    assert int(reference.counts[-1]) == 100


def test_the_sample_is_bounded_and_even() -> None:
    """A large reference keeps as many order statistics, none further than half a step off."""
    sample = Ecdf.of(np.arange(100_000.0))
    kept = order_statistics(sample)
    assert kept.size == SAMPLE_ROWS
    points = np.linspace(0.0, 100_000.0, 9999)
    gap = np.abs(Ecdf.of(kept).at(points) - sample.at(points))
    assert gap.max() <= 1.0 / (2 * SAMPLE_ROWS) + 1e-5


def test_a_small_sample_is_kept_whole() -> None:
    """Below the bound every row is there, ties included."""
    assert order_statistics(Ecdf.of([3.0, 1.0, 3.0])).tolist() == [1.0, 3.0, 3.0]


def test_the_order_of_rows_does_not_matter() -> None:
    """The same rows make the same baseline."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=20_000)
    first = build_baseline("b", "chat", WINDOW, {"latency_s": values}, 0)
    second = build_baseline("b", "chat", WINDOW, {"latency_s": rng.permutation(values)}, 0)
    assert first == second


def test_a_feature_that_is_always_missing_is_left_out() -> None:
    """There is nothing to cut cells from, so the feature has no reference."""
    columns: dict[str, Column] = {"ttft_s": [None] * 100, "latency_s": np.arange(100.0)}
    assert set(build_baseline("b", "chat", WINDOW, columns, 0).cells) == {"latency_s"}


def test_a_window_without_rows_is_refused() -> None:
    """The message names the baseline and the way out."""
    with pytest.raises(BaselineInvalid, match=r"baseline `b` of route `chat`.*choose a longer"):
        build_baseline("b", "chat", WINDOW, {"latency_s": [], "language": []}, 0)


def test_the_latest_baseline_is_chosen_unless_one_is_named() -> None:
    """Age decides, then the version; a name or a version narrows."""
    old = a_baseline(created_at=1)
    new = a_baseline(created_at=2, name="other")
    assert choose_baseline([new, old], "chat") is new
    assert choose_baseline([new, old], "chat", "week") is old
    again = a_baseline(created_at=3, version=2)
    assert choose_baseline([old, again], "chat", "week", 1) is old
    assert label(again) == "week@2"


def test_no_baseline_says_how_to_set_one() -> None:
    """The error names the route and the command."""
    with pytest.raises(NoBaseline, match=r"route `other` has no baseline; set one with"):
        choose_baseline([a_baseline()], "other")


def test_a_broken_baseline_is_named() -> None:
    """Cells that cannot be read are an error with a way out, not a crash."""
    broken = a_baseline(cells={"latency_s": {"rows": 3, "cells": {"kind": "numeric"}}})
    with pytest.raises(BaselineInvalid, match=r"baseline `week@1`.*monitor baseline drop"):
        read_references(broken)


def test_counts_of_other_cells_are_refused() -> None:
    """Counts and cells that do not belong together are never compared."""
    built = a_baseline()
    stored = json.loads(json.dumps(built.cells))
    stored["latency_s"]["counts"].append(1)
    with pytest.raises(BaselineInvalid, match="counts over"):
        read_references(msgspec.structs.replace(built, cells=stored))


def test_windows_that_touch_share_no_row() -> None:
    """Closed at the start, open at the end."""
    first, second = Window(0, 10), Window(10, 20)
    assert 10 not in first
    assert 10 in second
    assert window_ending(HOUR_US, 60.0) == Window(HOUR_US - 60_000_000, HOUR_US)
    assert window_ending(HOUR_US, 60.0).length_s == 60.0


def test_an_empty_window_is_refused() -> None:
    """A window holds time."""
    with pytest.raises(ValueError, match="holds no time"):
        Window(5, 5)


def test_times_without_a_zone_are_utc() -> None:
    """A configured period means the same everywhere; a zone is honoured."""
    assert from_us(to_us(datetime(2026, 11, 1))) == "2026-11-01T00:00:00Z"  # noqa: DTZ001
    moment = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert to_us(moment) == to_us(datetime(2026, 1, 1, tzinfo=UTC))
