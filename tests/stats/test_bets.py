import numpy as np
import pytest
from scipy.stats import hypergeom

from stats.bets import ODDS, STAKES, bets_of, log_rank_bets, log_rate_bets
from stats.categories import CategoryCells
from stats.cells import NumericCells


def _exact_log_mean(weights: np.ndarray, rows: np.ndarray, drawn: int) -> float:
    """Mean of the product of `drawn` weights without replacement, by summing over all draws."""
    means = np.zeros(drawn + 1)
    means[0] = 1.0
    j = np.arange(drawn + 1)
    for k, weight in enumerate(np.repeat(weights, rows)):
        fresh = j / (k + 1) * weight * np.concatenate(([0.0], means[:-1]))
        means = np.clip(1.0 - j / (k + 1), 0.0, None) * means + fresh
    return float(np.log(means[drawn]))


@pytest.mark.parametrize("drawn", [5, 60, 300])
def test_rank_bets_pay_one_on_average(drawn: int) -> None:
    """The mean under the draw is that of the exact sum, so that no payoff is more than fair."""
    together = np.full(40, 10.0)
    together[7] = 60.0
    rank = (2 * np.cumsum(together) - together) / together.sum() - 1
    counts = np.zeros(40)
    counts[7] = drawn
    paid = log_rank_bets(np.minimum(counts, together), together) if drawn <= 60 else None
    if paid is None:
        counts = np.floor(together * drawn / together.sum())
        counts[7] += drawn - counts.sum()
        paid = log_rank_bets(counts, together)
    for stake in (-0.8, -0.05, 0.5):
        weights = 1 + stake * rank
        exact = _exact_log_mean(weights, together.astype(int), drawn)
        expected = float(np.log(weights) @ counts) - exact
        assert paid[STAKES.index(stake)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("total", "hits", "drawn"), [(600, 9, 20), (600, 400, 250), (80, 79, 40)])
def test_rate_bets_pay_one_on_average(total: int, hits: int, drawn: int) -> None:
    """Over the hypergeometric law of a look every bet's mean payoff is one."""
    law = hypergeom(total, hits, drawn)
    seen = range(max(0, drawn - total + hits), min(hits, drawn) + 1)
    mean = sum(
        law.pmf(x) * np.exp(log_rate_bets(np.array([x]), np.array([hits]), drawn, total))
        for x in seen
    )
    assert mean == pytest.approx(np.ones(len(ODDS)), abs=2e-3)


def test_places_without_rows_pay_one() -> None:
    """A cell that neither the pool nor the look has says nothing."""
    assert log_rate_bets(np.zeros(1), np.zeros(1), 100, 5_000) == pytest.approx(np.zeros(len(ODDS)))


def test_look_as_large_as_the_pool_and_more_is_fair() -> None:
    """A look of ten times its pool has payoffs near one when nothing drifts."""
    together = np.full(64, 110.0)
    assert np.all(log_rank_bets(np.full(64, 100.0), together) < 0.0)
    assert np.all(np.isfinite(log_rank_bets(np.full(64, 110.0), together)))


@pytest.mark.parametrize(
    "cells",
    [NumericCells.from_reference(np.arange(100.0)), CategoryCells.from_reference(["a", "b"])],
)
def test_prior_weights_add_up_to_one(cells: NumericCells | CategoryCells) -> None:
    """The statistic is a mean, so that its false alarms are those of one bet."""
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    bets = bets_of(ordered, cells.size)
    weights = np.exp(bets.log_prior)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0.0
    assert "other" not in [cells.labels()[cell] for cell in bets.named]
