import json

import numpy as np
import pytest
from scipy.stats import hypergeom, kstest

from stats.bets import log_rank_bets, log_rate_bets, rank_p_values
from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.detector import DETECTOR_BINS, DetectorState, begin, look
from stats.errors import InvalidInput, NotEnoughSamples

BUDGET = 25.0 * 8_640
"""One false alarm in 30 days of five-minute looks over 25 features."""


def _numeric(generator: np.random.Generator, m: int = 5_000) -> tuple[NumericCells, DetectorState]:
    reference = generator.normal(size=m)
    cells = NumericCells.from_reference(reference, bins=min(m, DETECTOR_BINS))
    return cells, begin(cells, cells.count(reference))


def _looks_to_alarm(seed: int, location: float = 0.0, scale: float = 1.0, tail: float = 0.0) -> int:
    generator = np.random.default_rng(seed)
    cells, state = _numeric(generator)
    for number in range(1, 400):
        rows = generator.normal(location, scale, size=100)
        rows[generator.random(100) < tail] = 8.0
        found = look(state, cells.count(rows), generator, alarm_at=BUDGET)
        if found.alarm:
            return number
        state = found.state
    return 400


def test_ranks_are_uniform_without_drift() -> None:
    """Ranks of exchangeable rows are uniform, ties and a small pool included."""
    generator = np.random.default_rng(1)
    everything = generator.integers(0, 6, size=4_000)
    pool = np.bincount(everything[:50], minlength=6)
    ranks, grown = rank_p_values(everything[50:], pool, generator)
    assert kstest(ranks, "uniform").pvalue > 0.01
    assert grown.tolist() == np.bincount(everything, minlength=6).tolist()


def test_ranks_in_blocks_equal_ranks_one_by_one() -> None:
    """Ranking many rows at once is the same as letting each join before the next."""
    rows = np.random.default_rng(2).integers(0, 9, size=600)
    pool = np.arange(9, dtype=np.int64)
    together, _ = rank_p_values(rows, pool, np.random.default_rng(3))
    draws = np.random.default_rng(3).random(600)
    for i, (row, draw) in enumerate(zip(rows.tolist(), draws.tolist(), strict=True)):
        expected = (pool[:row].sum() + draw * (pool[row] + 1)) / (pool.sum() + 1)
        assert together[i] == pytest.approx(expected, rel=1e-12)
        pool[row] += 1


def test_rank_bets_pay_one_on_average() -> None:
    """Over evenly spread ranks every bet's mean payoff is one."""
    ranks = (np.arange(20_000) + 0.5) / 20_000
    payoffs = np.array([np.exp(log_rank_bets(np.array([rank]))) for rank in ranks[::10]])
    assert payoffs.mean(axis=0) == pytest.approx(np.ones(30), abs=1e-3)


def test_rate_bets_pay_one_on_average() -> None:
    """Over the hypergeometric law of a look every bet's mean payoff is exactly one."""
    total, hits, drawn = 60, 9, 20
    law = hypergeom(total, hits, drawn)
    mean = sum(
        law.pmf(x) * np.exp(log_rate_bets(np.array([x]), np.array([hits]), drawn, total))
        for x in range(10)
    )
    assert mean == pytest.approx(np.ones(8), rel=1e-9)


def test_false_alarms_keep_to_the_budget() -> None:
    """Over 4,000 undrifted looks with a level of 1,000 looks there are at most 4 alarms."""
    generator = np.random.default_rng(4)
    alarms = 0
    for _ in range(4):
        everything = generator.normal(size=21_000)
        everything[generator.random(21_000) < 0.05] = np.nan
        cells = NumericCells.from_reference(everything[:1_000], bins=500)
        state = begin(cells, cells.count(everything[:1_000]))
        for start in range(1_000, 21_000, 20):
            counts = cells.count(everything[start : start + 20])
            found = look(state, counts, generator, alarm_at=1_000.0)
            alarms += found.alarm
            state = found.state
    assert alarms <= 4


def test_false_alarms_of_categories_keep_to_the_budget() -> None:
    """The same for categories with rare ones and a reference that is small."""
    generator = np.random.default_rng(5)
    shares = np.array([0.6, 0.25, 0.1, 0.045, 0.005])
    names = np.array(list("abcde"))
    alarms = 0
    for _ in range(4):
        reference = dict(zip(names, generator.multinomial(300, shares).tolist(), strict=True))
        cells = CategoryCells.from_reference(reference, top=3)
        state = begin(cells, cells.count(reference))
        for counts in generator.multinomial(20, shares, size=500).tolist():
            now = cells.count(dict(zip(names, counts, strict=True)))
            found = look(state, now, generator, alarm_at=500.0)
            alarms += found.alarm
            state = found.state
    assert alarms <= 4


@pytest.mark.parametrize(
    ("drift", "most"),
    [({"location": 0.5}, 3), ({"location": 0.25}, 9), ({"scale": 1.5}, 4), ({"tail": 0.02}, 15)],
)
def test_drift_is_found_in_few_looks(drift: dict[str, float], most: int) -> None:
    """Half an sd takes two or three looks of 100 rows, a quarter about six."""
    found = [_looks_to_alarm(seed, **drift) for seed in range(7)]
    assert np.median(found) <= most


def test_leading_bet_names_what_changed() -> None:
    """A wider spread is told from a shift, with its direction."""
    generator = np.random.default_rng(6)
    cells, state = _numeric(generator)
    wide = look(state, cells.count(generator.normal(0, 2, 400)), generator, alarm_at=BUDGET)
    low = look(state, cells.count(generator.normal(-1, 1, 400)), generator, alarm_at=BUDGET)
    assert (wide.leading, wide.rising, wide.cell) == ("spread", True, None)
    assert (low.leading, low.rising) == ("location", False)


def test_new_category_is_found() -> None:
    """A category that the reference never had, at two percent, raises an alarm and is named."""
    cells = CategoryCells.from_reference({"a": 3_000, "b": 2_000})
    state = begin(cells, cells.count({"a": 3_000, "b": 2_000}))
    generator = np.random.default_rng(7)
    for _ in range(10):
        found = look(state, cells.count({"a": 59, "b": 39, "new": 2}), generator, alarm_at=BUDGET)
        state = found.state
        if found.alarm:
            break
    assert found.alarm
    assert (found.leading, found.rising, found.cell) == ("rate", True, cells.new)


def test_missing_rows_are_found() -> None:
    """Missing from 2 % to 12 % raises an alarm while the values stay the same."""
    generator = np.random.default_rng(8)
    reference = generator.normal(size=5_000)
    reference[:100] = np.nan
    cells = NumericCells.from_reference(reference, bins=DETECTOR_BINS)
    state = begin(cells, cells.count(reference))
    for _ in range(8):
        rows = generator.normal(size=100)
        rows[:12] = np.nan
        found = look(state, cells.count(rows), generator, alarm_at=BUDGET)
        state = found.state
        if found.alarm:
            break
    assert found.alarm
    assert found.cell == cells.size - 1


def test_look_without_a_valid_number_still_counts_its_missing_rows() -> None:
    """An all-missing look has nothing to rank, yet is evidence."""
    generator = np.random.default_rng(9)
    cells, state = _numeric(generator)
    found = look(state, cells.count([None] * 30), generator, alarm_at=BUDGET)
    assert found.alarm
    assert found.leading == "rate"


def test_answer_is_the_same_for_any_order_and_sharding() -> None:
    """A look's counts may come from any shards, and the seed names the look."""
    generator = np.random.default_rng(10)
    cells, state = _numeric(generator)
    rows = generator.normal(size=200)
    whole = cells.count(rows)
    shards = cells.count(rows[::-1][:30]) + cells.count(rows[::-1][30:])
    first = look(state, whole, np.random.default_rng(42), alarm_at=BUDGET)
    assert first == look(state, shards, np.random.default_rng(42), alarm_at=BUDGET)


def test_alarm_starts_the_sums_again_and_keeps_the_pool() -> None:
    """After an alarm the evidence is gone, the rows are not."""
    generator = np.random.default_rng(11)
    cells, state = _numeric(generator)
    found = look(state, cells.count(generator.normal(3, 1, 300)), generator, alarm_at=BUDGET)
    assert found.alarm
    assert set(found.state.rank_wealth) == set(found.state.rate_wealth) == {0.0}
    assert found.state.looks == 0
    assert sum(found.state.pool) == found.n_pool + found.n_current == 5_300


def test_huge_evidence_does_not_overflow() -> None:
    """A look of many drifted rows has finite evidence and a finite state."""
    generator = np.random.default_rng(12)
    cells, state = _numeric(generator)
    found = look(state, cells.count(np.full(4_000, 9.0)), generator, alarm_at=1e300)
    assert np.isfinite(found.log_evidence)
    assert found.log_evidence > 700.0


def test_state_survives_json() -> None:
    """A detector read back from JSON goes on where it was."""
    generator = np.random.default_rng(13)
    cells, state = _numeric(generator)
    state = look(state, cells.count(generator.normal(size=50)), generator, alarm_at=BUDGET).state
    assert DetectorState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


@pytest.mark.parametrize("damage", [{"pool": None}, {"rank_wealth": [1.0]}, {"looks": "x"}])
def test_damaged_state_is_refused(damage: dict[str, object]) -> None:
    """A stored state that does not fit its cells is an error."""
    _, state = _numeric(np.random.default_rng(14), m=50)
    with pytest.raises(InvalidInput):
        DetectorState.from_dict(state.to_dict() | damage)


def test_empty_look_is_not_enough_samples() -> None:
    """A look without rows has no evidence."""
    cells, state = _numeric(np.random.default_rng(15), m=50)
    with pytest.raises(NotEnoughSamples):
        look(state, cells.count([]), np.random.default_rng(1), alarm_at=BUDGET)


def test_counts_of_another_feature_are_refused() -> None:
    """Counts must be over the detector's own cells."""
    cells, state = _numeric(np.random.default_rng(16), m=50)
    with pytest.raises(InvalidInput, match="not of this detector"):
        look(state, [1, 2], np.random.default_rng(1), alarm_at=BUDGET)
    with pytest.raises(InvalidInput, match="not of this feature"):
        begin(cells, [1, 2])


@pytest.mark.parametrize("level", [1.0, float("inf"), float("nan")])
def test_impossible_level_is_refused(level: float) -> None:
    """The level counts looks."""
    cells, state = _numeric(np.random.default_rng(17), m=50)
    with pytest.raises(InvalidInput, match="alarm_at"):
        look(state, cells.count([0.0]), np.random.default_rng(1), alarm_at=level)
