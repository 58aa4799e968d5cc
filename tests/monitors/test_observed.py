from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.baselines import Column, build_baseline, read_references
from monitors.certainty import could_change
from monitors.drift import Comparison, compare
from monitors.observed import CategoricalCounts, NumericCounts, Window, missing_of, rows_of
from monitors.verdicts import Levels, has_evidence, severity_of
from monitors.windows import Window as Span
from stats.buckets import Sketch
from stats.cells import NumericCells

GENERATOR = np.random.default_rng(7)
REFERENCE = GENERATOR.lognormal(5.0, 0.6, size=20_000)
WORDS = ["stop"] * 900 + ["length"] * 90 + [None] * 10
LEVELS = Levels(0.1, 0.1, 0.25)


def against(feature: str, reference: Column, window: Window) -> Comparison:
    """Compare a window with a stored reference."""
    stored = build_baseline("b", "chat", Span(0, 1), {feature: reference}, 0)
    kept = read_references(stored)[feature]
    found = compare(kept, window, alpha=1e-6, min_samples=50)
    assert isinstance(found, Comparison)
    return found


def counted(rows: np.ndarray, cells: dict[int, int] | None = None) -> NumericCounts:
    """Return what roll-ups know of rows."""
    return NumericCounts(Sketch.of(rows), int(np.isnan(rows).sum()), cells)


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.3, 3.0])
def test_buckets_say_what_rows_say(factor: float) -> None:
    """Evidence and effect agree; D and the distance lie within the bounds that are stated."""
    rows = np.append(GENERATOR.lognormal(5.0, 0.6, size=8_000) * factor, [np.nan] * 80)
    by_rows = against("latency_s", REFERENCE, rows)
    by_counts = against("latency_s", REFERENCE, counted(rows))
    assert has_evidence(by_counts) == has_evidence(by_rows)
    assert severity_of(by_counts, LEVELS) == severity_of(by_rows, LEVELS)
    assert by_counts.psi.value == pytest.approx(by_rows.psi.value, rel=0.3, abs=0.005)
    assert by_counts.missing == by_rows.missing
    for exact, known in (
        (by_rows.ks, by_counts.ks),
        (by_rows.wasserstein_sd, by_counts.wasserstein_sd),
    ):
        assert exact is not None
        assert known is not None
        assert known.bounds.low - 1e-9 <= exact.value <= known.bounds.high + 1e-9


def test_counted_cells_give_the_same_psi() -> None:
    """Over the baseline's own cells nothing is lost."""
    rows = GENERATOR.lognormal(5.1, 0.6, size=5_000)
    by_rows = against("latency_s", REFERENCE, rows)
    cells = NumericCells.from_reference(REFERENCE)
    by_cells = dict(enumerate(cells.count(rows).tolist()))
    assert against("latency_s", REFERENCE, counted(rows, by_cells)).psi == by_rows.psi


def test_cells_that_miss_rows_are_not_used() -> None:
    """Cells counted since later than the window's start are no part of it."""
    rows = GENERATOR.lognormal(5.0, 0.6, size=5_000)
    found = against("latency_s", REFERENCE, counted(rows, {3: 4_000}))
    assert found.psi.n_current == 5_000
    assert found.psi.value < 0.05


def test_counted_categories_are_as_good_as_rows() -> None:
    """New ones, missing ones and examples included."""
    rows = ["stop"] * 500 + ["new"] * 30 + [None] * 70
    values = Counter(word for word in rows if word is not None)
    window = CategoricalCounts(values, missing=70)
    assert against("finish_reason", WORDS, window) == against("finish_reason", WORDS, rows)
    assert (rows_of(window), missing_of(window)) == (600, 70)


def test_values_that_were_not_told_apart_are_not_new() -> None:
    """They count as other: nobody knows which they were."""
    found = against("finish_reason", WORDS, CategoricalCounts({"stop": 500}, 0, other=50))
    assert found.new is not None
    assert found.new.value == 0.0


def test_rows_are_needed_where_one_bucket_holds_everything() -> None:
    """1000 and 1001 share a bucket: only rows can tell them apart."""
    reference, rows = np.full(5_000, 1000.0), np.full(5_000, 1001.0)
    found = against("latency_s", np.append(reference, [900.0, 1100.0]), counted(rows))
    assert not has_evidence(found)
    assert could_change(found, LEVELS)


@pytest.mark.parametrize(("factor", "was_open"), [(1.0, False), (3.0, False), (1.0, True)])
def test_rows_are_left_alone_where_counts_decide(factor: float, *, was_open: bool) -> None:
    """Nothing near a level: the same verdict either way, unless an episode waits for its end."""
    rows = GENERATOR.lognormal(5.0, 0.6, size=8_000) * factor
    found = against("latency_s", REFERENCE, counted(rows))
    assert could_change(found, LEVELS, was_open=was_open) is was_open


def test_a_narrow_bucket_holds_one_whole_number() -> None:
    """Of counts such as tokens nothing is hidden below a hundred."""
    rows = GENERATOR.integers(1, 5, size=5_000).astype(np.float64)
    window = NumericCounts(Sketch.of(rows), 0, whole=True)
    assert against("prompt_tokens", rows, window).psi_doubt == 0.0
    assert against("prompt_tokens", rows, counted(rows)).psi_doubt > 0.0


def test_rows_themselves_leave_nothing_open() -> None:
    """Their bounds are equal."""
    rows = GENERATOR.lognormal(5.0, 0.6, size=300)
    assert not could_change(against("latency_s", REFERENCE, rows), LEVELS, was_open=True)


SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "smooth": lambda rng, n: rng.lognormal(5.0, 0.6, n),
    "narrow": lambda rng, n: rng.uniform(100.0, 103.0, n),
    "signed": lambda rng, n: rng.normal(0.0, 1.0, n),
    "tied": lambda rng, n: np.round(rng.lognormal(2.0, 0.8, n)),
    "half a single value": lambda rng, n: np.where(
        rng.random(n) < 0.5, 100.0, rng.lognormal(5.0, 0.6, n)
    ),
    "lumpy": lambda rng, n: (
        rng.choice([20.0, 55.0, 80.0, 81.3, 300.0], n) * rng.lognormal(0.0, 0.002, n)
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 2**32), move=st.floats(-0.25, 0.25), way=st.sampled_from("*+"))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_verdict_from_counts_is_that_of_the_rows(
    shape: str, seed: int, move: float, way: str
) -> None:
    """On either side of the levels: unless the rows are asked for, both gates say the same."""
    rng = np.random.default_rng(seed)
    reference, rows = SHAPES[shape](rng, 3_000), SHAPES[shape](rng, 2_000)
    # Small moves are tried as often as large ones: levels and borders of buckets lie there.
    rows = rows * (1.0 + move**3 * 16) if way == "*" else rows + move**3 * 16 * reference.std()
    by_counts = against("latency_s", reference, counted(rows))
    if could_change(by_counts, LEVELS):
        return
    by_rows = against("latency_s", reference, rows)
    drifted = [
        has_evidence(found) and severity_of(found, LEVELS) != "none"
        for found in (by_rows, by_counts)
    ]
    assert drifted[0] == drifted[1]
