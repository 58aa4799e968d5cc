import numpy as np
import pytest

from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.detector import DetectorState, begin, look
from stats.detector_cells import detector_cells, reference_counts
from stats.ecdf import Ecdf
from stats.errors import InvalidInput, NotEnoughSamples

BUDGET = 25.0 * 8_640
"""One false alarm in 30 days of five-minute looks over 25 features."""


def _numeric(generator: np.random.Generator, m: int = 5_000) -> tuple[NumericCells, DetectorState]:
    rows = generator.normal(size=m)
    return _begun(rows)


def _begun(rows: np.ndarray) -> tuple[NumericCells, DetectorState]:
    sample = Ecdf.of(rows)
    own = NumericCells.from_reference(sample)
    cells = detector_cells(own, sample)
    return cells, begin(cells, cells.count(rows))


def _looks_to_alarm(seed: int, location: float = 0.0, scale: float = 1.0, tail: float = 0.0) -> int:
    generator = np.random.default_rng(seed)
    cells, state = _numeric(generator)
    for number in range(1, 100):
        rows = generator.normal(location, scale, size=100)
        rows[generator.random(100) < tail] = 8.0
        found = look(state, cells.count(rows), alarm_at=BUDGET, at=number)
        if found.alarm:
            return number
        state = found.state
    return 100


@pytest.mark.parametrize(
    ("drift", "most"),
    [
        ({"location": 0.25}, 9),
        ({"location": 0.5}, 3),
        ({"location": -1.0}, 1),
        ({"scale": 1.5}, 4),
        ({"tail": 0.02}, 5),
    ],
)
def test_drift_is_found_in_few_looks(drift: dict[str, float], most: int) -> None:
    """Half an sd takes two or three looks of 100 rows, a quarter about seven."""
    found = [_looks_to_alarm(seed, **drift) for seed in range(7)]
    assert np.median(found) <= most


def test_leading_bet_names_what_changed() -> None:
    """A wider spread is told from a shift, with its direction."""
    generator = np.random.default_rng(6)
    cells, state = _numeric(generator)
    wide = look(state, cells.count(generator.normal(0, 2, 400)), alarm_at=BUDGET, at=1)
    low = look(state, cells.count(generator.normal(-1, 1, 400)), alarm_at=BUDGET, at=1)
    assert (wide.leading, wide.rising, wide.cell) == ("spread", True, None)
    assert (low.leading, low.rising) == ("location", False)


def test_onset_is_near_the_change() -> None:
    """The winning bet's climb begins within two looks of the change."""
    generator = np.random.default_rng(3)
    cells, state = _numeric(generator)
    for at in range(200):
        rows = generator.normal(0.0 if at < 60 else 0.4, 1.0, size=100)
        found = look(state, cells.count(rows), alarm_at=BUDGET, at=at)
        state = found.state
        if found.alarm:
            break
    assert found.alarm
    assert 58 <= found.onset_at <= 62


def test_new_category_is_found() -> None:
    """A category that the reference never had, at two percent, raises an alarm and is named."""
    cells = CategoryCells.from_reference({"a": 3_000, "b": 2_000})
    state = begin(cells, cells.count({"a": 3_000, "b": 2_000}))
    for at in range(5):
        found = look(state, cells.count({"a": 59, "b": 39, "new": 2}), alarm_at=BUDGET, at=at)
        state = found.state
        if found.alarm:
            break
    assert found.alarm
    assert (found.leading, found.rising, found.cell) == ("rate", True, cells.new)


def test_categories_that_a_small_reference_missed_are_no_drift() -> None:
    """500 rows cannot hold 1,000 categories; the rest is expected to come."""
    generator = np.random.default_rng(4)
    names, counts = np.unique(generator.integers(0, 1_000, 500), return_counts=True)
    table = dict(zip(names.tolist(), counts.tolist(), strict=True))
    cells = CategoryCells.from_reference(table)
    singles = int(np.sum(counts == 1))
    for known in (singles, None):
        state = begin(cells, cells.count(table), singles=known)
        for at in range(100):
            now = cells.count(generator.integers(0, 1_000, 100).tolist())
            found = look(state, now, alarm_at=BUDGET, at=at)
            state = found.state
            assert not found.alarm


def test_missing_rows_are_found() -> None:
    """Missing from 2 % to 12 % raises an alarm while the values stay the same."""
    generator = np.random.default_rng(8)
    reference = generator.normal(size=5_000)
    reference[:100] = np.nan
    cells, state = _begun(reference)
    for at in range(5):
        rows = generator.normal(size=100)
        rows[:12] = np.nan
        found = look(state, cells.count(rows), alarm_at=BUDGET, at=at)
        state = found.state
        if found.alarm:
            break
    assert found.alarm
    assert found.cell == cells.size - 1


def test_look_without_a_valid_number_still_counts_its_missing_rows() -> None:
    """An all-missing look has nothing to rank, yet is evidence."""
    cells, state = _numeric(np.random.default_rng(9))
    found = look(state, cells.count([None] * 30), alarm_at=BUDGET, at=1)
    assert found.alarm
    assert found.leading == "rate"


def test_constant_reference_shows_a_move() -> None:
    """A feature that never varied has its own cell; other values are evidence."""
    cells, state = _begun(np.zeros(1_000))
    calm = look(state, cells.count(np.zeros(50)), alarm_at=BUDGET, at=1)
    moved = look(calm.state, cells.count([0.0] * 40 + [1.0] * 10), alarm_at=BUDGET, at=2)
    assert not calm.alarm
    assert moved.alarm


def test_hours_are_compared_with_themselves() -> None:
    """What is usual at night is drift by day."""
    generator = np.random.default_rng(5)
    day, night = generator.normal(3, 1, 4_000), generator.normal(0, 1, 4_000)
    cells, _ = _begun(np.concatenate((day, night)))
    hours = np.zeros((168, cells.size), dtype=np.int64)
    hours[12], hours[2] = cells.count(day), cells.count(night)
    state = begin(cells, hours.sum(axis=0), hours=hours)
    rows = cells.count(generator.normal(0, 1, 100))
    assert not look(state, rows, alarm_at=BUDGET, at=1, hour=2).alarm
    assert look(state, rows, alarm_at=BUDGET, at=1, hour=12).alarm
    unknown = look(state, rows, alarm_at=BUDGET, at=1, hour=3)
    assert not unknown.alarm
    assert unknown.state.pools[3].sum() == 100
    with pytest.raises(InvalidInput, match="hour of the week"):
        look(state, rows, alarm_at=BUDGET, at=1)


def test_dispersion_asks_for_more() -> None:
    """Rows that repeat each other are worth less: evidence shrinks with the dispersion."""
    generator = np.random.default_rng(10)
    reference = generator.normal(size=5_000)
    cells, plain = _begun(reference)
    spread = begin(cells, cells.count(reference), dispersion=4.0)
    rows = cells.count(generator.normal(0.6, 1, 100))
    first = look(plain, rows, alarm_at=BUDGET, at=1)
    second = look(spread, rows, alarm_at=BUDGET, at=1)
    assert second.log_evidence < first.log_evidence / 2


def test_alarm_starts_the_sums_again_and_keeps_the_pool() -> None:
    """After an alarm the evidence is gone, the rows are not."""
    generator = np.random.default_rng(11)
    cells, state = _numeric(generator)
    found = look(state, cells.count(generator.normal(3, 1, 300)), alarm_at=BUDGET, at=1)
    assert found.alarm
    assert set(found.state.log_sums.tolist()) == {-np.inf}
    assert found.state.looks == 0
    assert found.n_current == 300
    assert found.state.pools.sum() == pytest.approx(state.pools.sum() + 300)


def test_huge_evidence_does_not_overflow() -> None:
    """A look of many drifted rows has finite evidence and a finite state."""
    cells, state = _numeric(np.random.default_rng(12))
    for rows in (100, 400_000):
        found = look(state, cells.count(np.full(rows, 9.0)), alarm_at=1e300, at=1)
        assert np.isfinite(found.log_evidence)
        assert np.all(found.state.log_sums < np.inf)
        assert found.alarm == (rows == 400_000)


def test_state_survives_storing() -> None:
    """A detector read back from bytes goes on where it was, and is small."""
    generator = np.random.default_rng(13)
    cells, state = _numeric(generator)
    state = look(state, cells.count(generator.normal(size=50)), alarm_at=BUDGET, at=7).state
    body = state.to_bytes()
    again = DetectorState.from_bytes(body)
    rows = cells.count(generator.normal(size=50))
    first = look(state, rows, alarm_at=BUDGET, at=8)
    second = look(again, rows, alarm_at=BUDGET, at=8)
    assert first.state.to_bytes() == second.state.to_bytes()
    assert first.log_evidence == second.log_evidence
    assert len(body) < 2_000


@pytest.mark.parametrize("damage", [b"", b"x" * 40, b"\x09", b"\x01\xff\xff"])
def test_damaged_state_is_refused(damage: bytes) -> None:
    """A stored state that does not fit its cells is an error."""
    body = _numeric(np.random.default_rng(14), m=50)[1].to_bytes()
    with pytest.raises(InvalidInput):
        DetectorState.from_bytes(damage + body[len(damage) :] if damage else damage)


def test_reference_is_counted_from_what_a_baseline_keeps() -> None:
    """Order statistics stand for all rows within a part at every edge; a whole sample is exact."""
    generator = np.random.default_rng(15)
    for m, error in ((3_000, 0), (100_000, 25)):
        rows = np.concatenate((np.zeros(m // 5), generator.lognormal(size=m - m // 5)))
        kept = np.sort(rows)[(2 * np.arange(4_096) + 1) * m // 8_192] if m > 4_096 else rows
        own = NumericCells.from_reference(rows)
        sample = Ecdf.of(kept)
        cells = detector_cells(own, sample)
        counted = reference_counts(cells, own, own.count(rows), sample)
        true = cells.count(rows)
        assert counted.sum() == m
        assert np.max(np.abs(np.cumsum(counted - true))) <= error


def test_empty_look_is_not_enough_samples() -> None:
    """A look without rows has no evidence."""
    cells, state = _numeric(np.random.default_rng(15), m=50)
    with pytest.raises(NotEnoughSamples):
        look(state, cells.count([]), alarm_at=BUDGET, at=1)


def test_counts_of_another_feature_are_refused() -> None:
    """Counts must be over the detector's own cells."""
    cells, state = _numeric(np.random.default_rng(16), m=50)
    with pytest.raises(InvalidInput, match="not of this detector"):
        look(state, [1, 2], alarm_at=BUDGET, at=1)
    with pytest.raises(InvalidInput, match="not of this feature"):
        begin(cells, [1, 2])


@pytest.mark.parametrize("level", [1.0, float("inf"), float("nan")])
def test_impossible_level_is_refused(level: float) -> None:
    """The level counts looks."""
    cells, state = _numeric(np.random.default_rng(17), m=50)
    with pytest.raises(InvalidInput, match="alarm_at"):
        look(state, cells.count([0.0]), alarm_at=level, at=1)


@pytest.mark.parametrize("dispersion", [0.9, float("nan"), float("inf")])
def test_impossible_dispersion_is_refused(dispersion: float) -> None:
    """Rows cannot be more than independent."""
    cells = CategoryCells.from_reference(["a"])
    with pytest.raises(InvalidInput, match="dispersion"):
        begin(cells, [1, 0, 0, 0], dispersion=dispersion)


@pytest.mark.parametrize("singles", [None, 0, 10**6])
def test_pools_and_looks_of_any_size_have_finite_evidence(singles: int | None) -> None:
    """One row or thousands, in the pool or in the look: no warning, no overflow."""
    generator = np.random.default_rng(20)
    for m in (1, 30):
        names = [str(name) for name in generator.integers(0, 40, m)]
        cells = CategoryCells.from_reference(names)
        state = begin(cells, cells.count(names), singles=singles)
        line = NumericCells.from_reference(generator.normal(size=m + 2), bins=2)
        numbers = begin(line, line.count([0.0] * m))
        for n in (1, 3_000, 1):
            seen = look(state, cells.count([*names[:n], "x", None]), alarm_at=1e300, at=n)
            ranked = look(numbers, line.count(np.full(n, 99.0)), alarm_at=1e300, at=n)
            state, numbers = seen.state, ranked.state
            assert np.isfinite([seen.log_evidence, ranked.log_evidence]).all()
