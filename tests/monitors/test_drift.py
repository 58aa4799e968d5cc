from dataclasses import replace

import numpy as np
import pytest

from monitors.baselines import Column, Reference, build_baseline, read_references
from monitors.cause import likely_cause
from monitors.cell_words import range_words
from monitors.drift import Comparison, TooFew, compare
from monitors.observed import CellCounts
from monitors.verdicts import Levels, has_evidence, is_calm, severity_of
from monitors.windows import Window

WINDOW = Window(0, 1)
LANGUAGES = ["en", "de", "fr", "es"]
SHARES = [0.7, 0.15, 0.1, 0.05]


def reference_of(feature: str, column: Column) -> Reference:
    """Return the column as a reference."""
    built = build_baseline("b", "chat", WINDOW, {feature: column}, 0)
    return read_references(built)[feature]


def compared(
    reference: Reference, column: Column | CellCounts, alpha: float = 1e-5, min_samples: int = 50
) -> Comparison:
    """Compare; the test says that there are enough rows."""
    found = compare(reference, column, alpha=alpha, min_samples=min_samples)
    assert isinstance(found, Comparison)
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    """Return seeded draws."""
    return np.random.default_rng(7)


def test_a_shift_is_measured_in_every_statistic(rng: np.random.Generator) -> None:
    """Half a standard deviation: PSI .24, D .2 and W1 .5 of the population, n and m beside."""
    reference = reference_of("latency_s", rng.normal(size=5000))
    found = compared(reference, rng.normal(0.5, size=2000))
    assert found.psi.value == pytest.approx(0.24, abs=0.06)
    assert found.likelihood > found.threshold
    assert found.ks is not None
    assert found.ks.value == pytest.approx(0.197, abs=0.04)
    assert found.ks_p is not None
    assert found.ks_p < 1e-20
    assert found.wasserstein_sd is not None
    assert found.wasserstein_sd.value == pytest.approx(0.5, abs=0.07)
    assert (found.n_reference, found.n_current) == (5000, 2000)


def test_equal_windows_stay_below_the_threshold(rng: np.random.Generator) -> None:
    """At 1 % a look some 1 % of equal windows exceed their threshold, at any window size."""
    law = rng.lognormal(size=200_000)
    for n in (50, 500):
        hits = 0
        for _ in range(4):
            reference = reference_of("latency_s", rng.choice(law, 4000))
            for _ in range(50):
                found = compared(reference, rng.choice(law, n), alpha=0.01)
                assert found.ks_p is not None
                hits += found.likelihood > found.threshold or found.ks_p < 0.005
        assert hits <= 8  # 2 expected of 200; more than 8 has chance 2e-4


def test_equal_mixes_stay_below_the_threshold(rng: np.random.Generator) -> None:
    """The same for categories, rare ones included."""
    names, shares = [*LANGUAGES, "th", "fi"], [0.7, 0.15, 0.1, 0.047, 0.002, 0.001]
    for n in (50, 500):
        hits = 0
        for _ in range(4):
            reference = reference_of("language", rng.choice(names, 4000, p=shares).tolist())
            for _ in range(50):
                current = rng.choice(names, n, p=shares).tolist()
                found = compared(reference, current, alpha=0.01)
                hits += found.likelihood > found.threshold
        assert hits <= 8


def test_the_level_holds_far_out_in_the_tail(rng: np.random.Generator) -> None:
    """Of 100,000 equal windows of ten rows a cell about one has a chance below 1e-5.

    PSI by its own law has several; budgets of a month spend such chances at every look.
    """
    reference = reference_of("latency_s", np.arange(5000.0))
    middles = np.arange(10) * 500.0 + 250.0
    windows = rng.multinomial(100, np.full(10, 0.1), size=100_000)
    # Only uneven windows can get there, of a PSI above 0.28; the others need not be compared.
    gaps = (windows - 10) * np.log(np.maximum(windows, 0.5) / 10)
    uneven = windows[gaps.sum(axis=1) > 28]
    found = [compared(reference, np.repeat(middles, window)) for window in uneven]
    assert sum(c.likelihood_p < 1e-5 for c in found) <= 2
    assert sum(c.psi.p_value < 1e-5 for c in found) > 2


def test_small_windows_use_fewer_cells(rng: np.random.Generator) -> None:
    """Ten rows a cell at least, or the law of PSI does not hold."""
    reference = reference_of("latency_s", rng.normal(size=5000))
    assert compared(reference, rng.normal(size=60)).psi.cells <= 6
    assert compared(reference, rng.normal(size=5000)).psi.cells >= 10


def test_too_few_rows_are_their_own_answer(rng: np.random.Generator) -> None:
    """Neither window may be smaller than the configured least."""
    reference = reference_of("latency_s", rng.normal(size=1000))
    assert compare(reference, rng.normal(size=49), alpha=1e-5, min_samples=50) == TooFew(
        "latency_s", "numeric", 1000, 49, 50
    )
    small = reference_of("latency_s", rng.normal(size=40))
    assert isinstance(compare(small, rng.normal(size=500), alpha=1e-5, min_samples=50), TooFew)


def test_a_rise_of_missing_rows_is_seen(rng: np.random.Generator) -> None:
    """Values that are equal where they exist, but exist less often, are drift all the same."""
    reference = reference_of("ttft_s", with_missing(rng, 4000, 0.10))
    found = compared(reference, with_missing(rng, 1000, 0.40))
    assert found.likelihood > found.threshold
    assert found.missing.interval.low > 0.2
    assert found.contributions[0].cell == "missing"
    assert likely_cause(found).startswith("missing values went from")


def test_all_rows_missing_is_drift_not_a_crash(rng: np.random.Generator) -> None:
    """A column that goes silent keeps its PSI; distances of no rows are left out."""
    reference = reference_of("ttft_s", rng.normal(size=1000))
    found = compared(reference, [None] * 200)
    assert found.likelihood > found.threshold
    assert (found.ks, found.ks_p, found.wasserstein_sd) == (None, None, None)
    assert found.missing.current_rate == 1.0


def test_a_change_of_language_names_the_language(rng: np.random.Generator) -> None:
    """The category that contributes most is the cause."""
    reference = reference_of("language", rng.choice(LANGUAGES, 4000, p=SHARES).tolist())
    found = compared(reference, rng.choice(LANGUAGES, 500, p=[0.2, 0.65, 0.1, 0.05]).tolist())
    assert found.psi.value > 1.0
    assert found.chi2 is not None
    assert found.chi2.p_value < 1e-20
    assert likely_cause(found).startswith(("`de` went from", "`en` went from"))


def test_new_categories_are_a_rate_with_examples(rng: np.random.Generator) -> None:
    """What the baseline never had is counted and named, most frequent first."""
    reference = reference_of("finish_reason", ["stop"] * 900 + ["length"] * 100)
    current = ["stop"] * 150 + ["tool_calls"] * 40 + ["content_filter"] * 10
    found = compared(reference, current)
    assert found.new is not None
    assert found.new.value == pytest.approx(0.25)
    assert found.new_examples == ("tool_calls", "content_filter")
    assert "tool_calls" in likely_cause(found)


def test_only_new_categories_are_survived() -> None:
    """A mix without a single known category still has a PSI."""
    reference = reference_of("finish_reason", ["stop"] * 900 + ["length"] * 100)
    found = compared(reference, ["abc"] * 100)
    assert found.chi2 is None
    assert found.likelihood > found.threshold


def test_booleans_are_categories() -> None:
    """Refusals come as booleans and compare as categories."""
    reference = reference_of("refusal", [False] * 990 + [True] * 10)
    found = compared(reference, np.array([False] * 80 + [True] * 20))
    assert found.likelihood > found.threshold
    assert found.new is not None
    assert found.new.value == 0.0


def test_a_flag_that_never_was_names_its_word() -> None:
    """Refusals after none are no category that nobody knew: their word and share are told."""
    found = compared(reference_of("refusal", [False] * 1000), [False] * 80 + [True] * 20)
    assert likely_cause(found) == "`true` went from 0.0% to 20.0% of rows"


def test_new_categories_without_names_are_told_by_their_share() -> None:
    """Counts by cell know no names: the sentence ends with the share."""
    reference = reference_of("finish_reason", ["stop"] * 1000)
    counts = reference.counts * 0
    counts[[0, reference.cells.labels().index("new")]] = 80, 20
    found = compared(reference, CellCounts(counts))
    assert likely_cause(found) == "categories that the baseline never had, 20.0% of rows"


def test_cells_of_a_number_are_told_as_values(rng: np.random.Generator) -> None:
    """Where only cells are known, the range that moved most is named as a range of values."""
    reference = reference_of("response_tokens", rng.integers(1, 100, 2000))
    counts = reference.counts.copy()
    counts[reference.cells.labels().index("from 99")] += 900
    assert likely_cause(compared(reference, CellCounts(counts))).startswith("values of 99 and more")


def test_a_constant_reference_shows_a_move(rng: np.random.Generator) -> None:
    """No spread, no unit for a distance; PSI sees the move."""
    reference = reference_of("response_tokens", np.full(500, 16.0))
    same = compared(reference, np.full(200, 16.0))
    assert same.psi.value == 0.0
    assert same.wasserstein_sd is None
    moved = compared(reference, np.full(200, 17.0))
    assert moved.likelihood > moved.threshold


def test_one_wild_row_is_no_drift(rng: np.random.Generator) -> None:
    """An outlier moves neither PSI nor the winsorised distance."""
    reference = reference_of("latency_s", rng.normal(10.0, 1.0, size=5000))
    current = rng.normal(10.0, 1.0, size=2000)
    current[0] = 1e6
    found = compared(reference, current)
    assert found.likelihood < found.threshold
    assert found.wasserstein_sd is not None
    assert found.wasserstein_sd.value < 0.1


def test_a_change_of_unit_is_suspected(rng: np.random.Generator) -> None:
    """Milliseconds where seconds were are named as such."""
    reference = reference_of("latency_s", rng.lognormal(size=2000))
    found = compared(reference, rng.lognormal(size=500) * 1000.0)
    assert "1000 times" in likely_cause(found)


def test_a_change_of_shape_is_named(rng: np.random.Generator) -> None:
    """With the median in its place the cell that changed most is named."""
    values = np.repeat([1.0, 2.0, 3.0], [100, 800, 100])
    reference = reference_of("response_tokens", values)
    found = compared(reference, np.repeat([1.0, 2.0, 3.0], [90, 120, 90]))
    assert likely_cause(found).startswith("the shape changed: ")


def test_the_order_of_rows_does_not_matter(rng: np.random.Generator) -> None:
    """The same rows give the same comparison."""
    reference = reference_of("latency_s", rng.normal(size=3000))
    current = rng.normal(0.2, size=700)
    assert compared(reference, current) == compared(reference, rng.permutation(current))


def by_users(rng: np.random.Generator, users: int) -> np.ndarray:
    """Return ten rows of each user, correlated by 0.7: sums vary 7.3 times as much."""
    mean = np.repeat(rng.normal(0.0, np.sqrt(0.7), users), 10)
    return np.asarray(mean + rng.normal(0.0, np.sqrt(0.3), users * 10))


def test_rows_of_the_same_users_are_no_evidence(rng: np.random.Generator) -> None:
    """Undrifted windows of few users look far off, unless their dependence is known."""
    alone = reference_of("latency_s", by_users(rng, 2_000))
    known = replace(alone, dispersion=7.3)
    windows = [by_users(rng, 60) for _ in range(60)]
    fired = [
        sum(has_evidence(compared(reference, window, alpha=1e-3)) for window in windows)
        for reference in (alone, known)
    ]
    assert fired[0] > 4
    assert fired[1] <= 1
    shifted = compared(known, by_users(rng, 200) + 1.0, alpha=1e-5)
    assert has_evidence(shifted)
    assert severity_of(shifted, Levels(0.02, 0.1, 0.25)) != "none"
    assert shifted.psi.interval.low > 0.02


def test_calm_is_possible_where_rows_depend_on_each_other(rng: np.random.Generator) -> None:
    """An episode of such a feature ends too."""
    known = replace(reference_of("latency_s", by_users(rng, 2_000)), dispersion=7.3)
    levels = Levels(0.02, 0.1, 0.25)
    calm = [is_calm(compared(known, by_users(rng, 60)), levels) for _ in range(20)]
    assert sum(calm) >= 15
    assert not is_calm(compared(known, by_users(rng, 200) + 1.0), levels)


def test_rows_far_outside_the_reference_are_a_share(rng: np.random.Generator) -> None:
    """Two rows of a hundred that lie where none ever did are material, whatever the distance."""
    reference = reference_of("latency_s", rng.normal(size=5000))
    found = compared(reference, np.where(rng.random(1000) < 0.02, 8.0, rng.normal(size=1000)))
    assert found.share is not None
    assert found.share.cell.startswith("from ")
    assert found.share.change.interval.low > 0.0
    assert severity_of(found, Levels(10.0, 10.0, 10.0)) == "warning"
    same = compared(reference, rng.normal(size=1000))
    assert severity_of(same, Levels(10.0, 10.0, 10.0)) == "none"


def with_missing(rng: np.random.Generator, rows: int, share: float) -> list[float | None]:
    """Return normal values of which a share is None."""
    values = rng.normal(size=rows).tolist()
    return [None if gone else v for v, gone in zip(values, rng.random(rows) < share, strict=True)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("223 to 622 … from 622", "from 223"),
        ("below 26 … 26 to 57", "below 57"),
        ("exactly 3 … 4 to 7", "3 to 7"),
        ("86 to 99 … 99 to 113", "86 to 113"),
        ("86 to 99", "86 to 99"),
    ],
)
def test_joined_cells_are_told_as_one_range(name: str, said: str) -> None:
    """People read a range, not the names of its first and last cell."""
    assert range_words(name) == said


def test_a_shift_over_cells_is_material_by_its_distance(rng: np.random.Generator) -> None:
    """What segments and hours know: 0.13 sd, of which PSI shows too little."""
    reference = reference_of("latency_s", rng.normal(size=40_000))
    counts = reference.cells.count(rng.normal(0.13, size=40_000))
    found = compared(reference, CellCounts(counts))
    assert found.wasserstein_sd is not None
    assert found.wasserstein_sd.value == pytest.approx(0.13, abs=0.02)
    assert found.psi.interval.low < 0.02
    levels = Levels(0.02, 0.1, 0.25)
    assert severity_of(found, levels) == "warning"
    same = compared(reference, CellCounts(reference.cells.count(rng.normal(size=40_000))))
    assert is_calm(same, levels)
