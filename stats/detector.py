"""Sequential detector with a bound on false alarms over all looks: a conformal e-detector.

It holds counts and a few dozen numbers, never rows. A look takes the look's counts over the
same cells, so that the answer does not depend on the order or the sharding of its rows.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, as_counts
from stats.bets import ODDS, POLYNOMIALS, STAKES, log_rank_bets, log_rate_bets, rank_p_values
from stats.categories import Cells
from stats.cells import NumericCells
from stats.errors import InvalidInput

DETECTOR_BINS = 1_024
"""Bins of the reference that ranks are taken over."""
RANK_SHARE = 0.75
"""Weight of the rank bets of a number; the rates of its tails and gaps have the rest."""
LARGEST_LOG = 700.0
"""The exponential overflows soon after."""

Aspect = Literal["location", "spread", "skew", "rate"]


@dataclass(frozen=True, slots=True)
class DetectorState:
    """What is kept between looks.

    Attributes
    ----------
    ordered : int
        Leading cells that lie on a line and are ranked; 0 for a category. Every category is
        watched by its rate; of a number both tails, `invalid` and `missing` are.
    pool : tuple of int
        Rows seen, the reference's first, by cell.
    rank_wealth, rate_wealth : tuple of float
        Shiryaev-Roberts sums of the bets since the last alarm, in the order of `bets`.
    looks : int
        Looks since the last alarm.
    """

    ordered: int
    pool: tuple[int, ...]
    rank_wealth: tuple[float, ...]
    rate_wealth: tuple[float, ...]
    looks: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON keeps without loss."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DetectorState":
        """Read what `to_dict` wrote; raises InvalidInput on anything else."""
        try:
            state = cls(
                ordered=int(data["ordered"]),
                pool=tuple(map(int, data["pool"])),
                rank_wealth=tuple(map(float, data["rank_wealth"])),
                rate_wealth=tuple(map(float, data["rate_wealth"])),
                looks=int(data["looks"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not the stored form of a detector: {error!r}.") from error
        if state.bets != (len(state.rank_wealth), len(state.rate_wealth)):
            raise InvalidInput("the stored detector's bets do not fit its cells; begin it anew.")
        return state

    @property
    def bets(self) -> tuple[int, int]:
        """How many rank bets and rate bets these cells have."""
        ranks = len(POLYNOMIALS) * len(STAKES) if self.ordered else 0
        return ranks, watched(self.ordered, np.array(self.pool)).size * len(ODDS)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found.

    Attributes
    ----------
    state : DetectorState
        Where the next look goes on; its sums start again after an alarm.
    log_evidence : float
        Log of the statistic before any reset; compare it with the log of the alarm level.
    alarm : bool
        Whether the statistic reached the level.
    leading : str
        Aspect whose bet is richest: `location`, `spread`, `skew` or `rate`.
    rising : bool
        Direction of that bet: larger values, wider spread, a higher rate.
    cell : int or None
        Cell whose rate it is, in the order of the counts (`below` and `above` stand for the
        tails); None for the rank bets.
    n_pool, n_current : int
        Rows of the pool before the look, rows of the look.
    """

    state: DetectorState
    log_evidence: float
    alarm: bool
    leading: Aspect
    rising: bool
    cell: int | None
    n_pool: int
    n_current: int


def begin(cells: Cells, reference: npt.ArrayLike) -> DetectorState:
    """Start from a reference's counts over `cells` (numbers: `DETECTOR_BINS` bins).

    Raises
    ------
    NotEnoughSamples
        If the reference is empty.
    """
    counts = as_counts(reference, "reference")
    if counts.size != cells.size:
        raise InvalidInput(f"{counts.size} counts over {cells.size} cells: not of this feature.")
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    return _fresh(DetectorState(ordered, tuple(counts.tolist()), (), ()))


def look(
    state: DetectorState,
    current: npt.ArrayLike,
    generator: np.random.Generator,
    *,
    alarm_at: float,
) -> Look:
    """Take in the rows since the last look.

    Every bet's sum follows R <- (1 + R) * payoff of the look; the statistic is the mean of the
    sums. Without drift each sum has a mean of one a look, and a mean over features stays so
    under any dependence.

    Parameters
    ----------
    state : DetectorState
        From `begin` or the look before.
    current : array_like of int, shape (cells,)
        Counts of the new rows.
    generator : numpy.random.Generator
        Breaks ties and shuffles the look's rows. Seed it from what names the look, so that a
        repeated look has the same answer.
    alarm_at : float
        Level A > 1: the mean number of looks to a false alarm is at least A.

    Raises
    ------
    NotEnoughSamples
        If the look has no rows; it then leaves the state as it is.

    Notes
    -----
    The pool grows by every look: against a frozen reference the reference's own sampling error
    becomes drift. Rank bets keep the bound exactly, up to the cells' resolution; rate bets have
    mean one a look exactly, and their bound at the alarm is shown by simulation in the tests.

    The size of the reference bounds what can be found. With 100 rows a look and A = 216,000 the
    median looks to find a shift of .1 / .25 / .5 / 1 sd are 32 / 6 / 2 / 1 against 50,000
    reference rows; against 5,000 the first is 66, the others are the same.

    References
    ----------
    J. Shin, A. Ramdas and A. Rinaldo, E-detectors: a nonparametric framework for sequential
    change detection, arXiv 2203.03532 (2022).
    """
    if not 1.0 < alarm_at < math.inf:
        raise InvalidInput(f"alarm_at is {alarm_at}; it counts looks, so it must exceed 1.")
    counts = as_counts(current, "current window")
    if counts.size != len(state.pool):
        message = f"{counts.size} counts over {len(state.pool)} cells: not of this detector."
        raise InvalidInput(message)
    pool = np.array(state.pool, dtype=np.int64)
    grown = pool + counts
    ranked = _after_ranks(state, counts, pool, generator)
    now, ever = watched(state.ordered, counts), watched(state.ordered, grown)
    paid = log_rate_bets(now, ever, int(counts.sum()), int(grown.sum()))
    rated = np.log1p(np.array(state.rate_wealth)) + paid
    evidence = _log_mean(ranked, rated)
    alarm = evidence >= math.log(alarm_at)
    after = replace(
        state,
        pool=tuple(grown.tolist()),
        rank_wealth=_wealth(ranked),
        rate_wealth=_wealth(rated),
        looks=state.looks + 1,
    )
    leading, rising, cell = _leader(state, ranked, rated)
    return Look(
        state=_fresh(after) if alarm else after,
        log_evidence=evidence,
        alarm=alarm,
        leading=leading,
        rising=rising,
        cell=cell,
        n_pool=int(pool.sum()),
        n_current=int(counts.sum()),
    )


def watched(ordered: int, counts: CountArray) -> CountArray:
    """Return the counts whose rates are bet on.

    A tail is the guard with the bin beside it: the guard alone would be empty in the reference
    by its very definition, so that any value in it would look like drift.
    """
    if not ordered:
        return counts
    tails = [counts[:2].sum(), counts[ordered - 2 : ordered].sum()]
    return np.concatenate((tails, counts[ordered:])).astype(np.int64)


def _fresh(state: DetectorState) -> DetectorState:
    ranks, rates = state.bets
    return replace(state, rank_wealth=(0.0,) * ranks, rate_wealth=(0.0,) * rates, looks=0)


def _after_ranks(
    state: DetectorState, counts: CountArray, pool: CountArray, generator: np.random.Generator
) -> FloatArray:
    wealth = np.log1p(np.array(state.rank_wealth, dtype=np.float64))
    line = counts[: state.ordered]
    if not line.sum():
        return wealth
    # Shuffled, since rows in the order of their cells would not be exchangeable.
    rows = generator.permutation(np.repeat(np.arange(line.size), line))
    ranks, _ = rank_p_values(rows, pool[: state.ordered], generator)
    return wealth + log_rank_bets(ranks)


def _log_mean(ranked: FloatArray, rated: FloatArray) -> float:
    rates = float(np.logaddexp.reduce(rated)) - math.log(rated.size)
    if not ranked.size:
        return rates
    ranks = float(np.logaddexp.reduce(ranked)) - math.log(ranked.size)
    return float(np.logaddexp(math.log(RANK_SHARE) + ranks, math.log1p(-RANK_SHARE) + rates))


def _wealth(logs: FloatArray) -> tuple[float, ...]:
    return tuple(np.exp(np.minimum(logs, LARGEST_LOG)).tolist())


def _leader(
    state: DetectorState, ranked: FloatArray, rated: FloatArray
) -> tuple[Aspect, bool, int | None]:
    best = int(np.argmax(np.concatenate((ranked, rated))))
    if best < ranked.size:
        aspects: tuple[Aspect, ...] = ("location", "spread", "skew")
        return aspects[best // len(STAKES)], STAKES[best % len(STAKES)] > 0, None
    cell, odds = divmod(best - ranked.size, len(ODDS))
    places = (0, state.ordered - 1, state.ordered, state.ordered + 1) if state.ordered else None
    return "rate", ODDS[odds] > 1.0, places[cell] if places else cell
