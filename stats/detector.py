"""Sequential detector with a bound on false alarms over all looks: a conformal e-detector.

It holds counts and a few dozen numbers, never rows, and is deterministic: a look takes the
look's counts, so that the answer does not depend on the order or the sharding of its rows.
"""

import math
import struct
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, as_counts
from stats.bets import Aspect, Bets, bets_of
from stats.categories import CategoryCells, Cells
from stats.cells import NumericCells
from stats.errors import InvalidInput

HOURS = 168
"""Pools of a detector with hours: the hours of the week."""
FORM = 1
"""Version of the stored form."""

_HEAD = struct.Struct("<BHHHdQ")
_Sums = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DetectorState:
    """What is kept between looks.

    Attributes
    ----------
    ordered : int
        Leading cells that lie on a line and are ranked; 0 for a category.
    pools : ndarray of float64, shape (1 or 168, cells)
        Rows seen, the reference's first, by cell; with hours a row for each hour of the week.
    dispersion : float
        At least one: by how much dependence inflates the variance of counts.
    log_sums : ndarray of float32, shape (bets,)
        Logs of the Shiryaev-Roberts sums since the last alarm.
    climbs : ndarray of float32, shape (bets,)
        Each bet's log payoff since it was last as good as nothing: Page's CUSUM, >= 0.
    onsets : ndarray of int64, shape (bets,)
        When each climb began, in the unit of `look`'s `at`.
    looks : int
        Looks since the last alarm.
    bets : Bets
        What is bet on; it follows from the cells and is not stored.
    """

    ordered: int
    pools: FloatArray
    dispersion: float
    log_sums: _Sums
    climbs: _Sums
    onsets: CountArray
    looks: int
    bets: Bets = field(repr=False)

    @property
    def cells(self) -> int:
        """Length of the count vectors that it takes."""
        return int(self.pools.shape[1])

    def to_bytes(self) -> bytes:
        """Return a compact form: some 1 kB."""
        hours, cells = self.pools.shape
        head = _HEAD.pack(FORM, self.ordered, hours, cells, self.dispersion, self.looks)
        parts = (self.pools, self.log_sums, self.climbs, self.onsets)
        little = (part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)
        return head + zlib.compress(b"".join(little), 1)

    @classmethod
    def from_bytes(cls, body: bytes) -> "DetectorState":
        """Read what `to_bytes` wrote; raises InvalidInput on anything else."""
        try:
            form, ordered, hours, cells, dispersion, looks = _HEAD.unpack_from(body)
            data = zlib.decompress(body[_HEAD.size :])
        except (struct.error, zlib.error) as error:
            raise InvalidInput(f"not the stored form of a detector: {error!r}.") from error
        bets = bets_of(ordered, cells) if form == FORM and cells >= max(4, ordered + 2) else None
        sums = 0 if bets is None else bets.log_prior.size
        pools = hours * cells
        if bets is None or len(data) != 8 * pools + 16 * sums:
            raise InvalidInput("the stored detector is of another form; begin it anew.")
        at = 8 * pools
        return cls(
            ordered=ordered,
            pools=np.frombuffer(data, "<f8", pools).reshape(hours, cells),
            dispersion=dispersion,
            log_sums=np.frombuffer(data, "<f4", sums, at),
            climbs=np.frombuffer(data, "<f4", sums, at + 4 * sums),
            onsets=np.frombuffer(data, "<i8", sums, at + 8 * sums),
            looks=looks,
            bets=bets,
        )


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
        Aspect whose bet is richest: `location`, `spread`, `skew`, `shape` or `rate`.
    rising : bool
        Direction of that bet: larger values, wider spread, a higher rate.
    cell : int or None
        Cell whose rate it is, in the order of the counts (`below` and `above` stand for the
        tails); None for the rank bets.
    onset_at : int
        When that bet began to win; this look's `at` if it does not.
    n_pool, n_current : int
        Rows of the pool before the look, rows of the look.
    """

    state: DetectorState
    log_evidence: float
    alarm: bool
    leading: Aspect
    rising: bool
    cell: int | None
    onset_at: int
    n_pool: int
    n_current: int


def begin(
    cells: Cells,
    reference: npt.ArrayLike,
    *,
    dispersion: float = 1.0,
    singles: int | None = None,
    hours: npt.ArrayLike | None = None,
) -> DetectorState:
    """Start from a reference's counts.

    Parameters
    ----------
    cells : NumericCells or CategoryCells
        Those of the baseline, or finer ones from `stats.detector_cells`.
    reference : array_like of int, shape (cells.size,)
        Reference rows by cell.
    dispersion : float
        From `stats.spread.dispersion`: one for independent rows.
    singles : int, optional
        Categories that the reference had exactly once: as many rows as can be expected to be
        new (Good and Turing). Guessed from the counts if it is not known.
    hours : array_like of int, shape (168, cells.size), optional
        The same counts by hour of the week; every look is then compared within its hour.

    Raises
    ------
    NotEnoughSamples
        If the reference is empty.

    References
    ----------
    I. J. Good, The population frequencies of species and the estimation of population
    parameters, Biometrika 40 (1953).
    """
    counts = as_counts(reference, "reference")
    if counts.size != cells.size:
        raise InvalidInput(f"{counts.size} counts over {cells.size} cells: not of this feature.")
    if not 1.0 <= dispersion < math.inf:
        raise InvalidInput(f"dispersion is {dispersion}; independent rows have 1, others more.")
    pools = counts.astype(np.float64)[np.newaxis]
    if hours is not None:
        pools = np.asarray(hours, dtype=np.float64)
        if pools.shape != (HOURS, cells.size):
            raise InvalidInput(f"hours have shape {pools.shape}, not ({HOURS}, {cells.size}).")
    pools = pools + _unseen(cells, counts, singles) * (
        pools.sum(axis=1, keepdims=True) / counts.sum()
    )
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    bets = bets_of(ordered, cells.size)
    empty, never = np.zeros(0, np.float32), np.zeros(bets.log_prior.size, np.int64)
    return _fresh(DetectorState(ordered, pools, dispersion, empty, empty, never, 0, bets))


def look(
    state: DetectorState,
    current: npt.ArrayLike,
    *,
    alarm_at: float,
    at: int,
    hour: int | None = None,
) -> Look:
    """Take in the rows since the last look.

    Every bet's sum follows R <- (1 + R) * payoff of the look; the statistic is the weighted mean
    of the sums. Without drift each sum grows by one a look, and a mean over features stays so
    under any dependence between them. Dependence between rows is paid for: payoffs are taken to
    the power 1 / dispersion.

    Parameters
    ----------
    state : DetectorState
        From `begin` or the look before.
    current : array_like of int, shape (cells,)
        Counts of the new rows; as many as there are.
    alarm_at : float
        Level A > 1: the mean number of looks to a false alarm is at least A.
    at : int
        When the look's rows began; `onset_at` is one of these.
    hour : int, optional
        Hour of the week, 0 to 167, of a detector with hours. Where the reference has no row of
        it, the look only teaches.

    Raises
    ------
    NotEnoughSamples
        If the look has no rows; the state then stays as it is.

    Notes
    -----
    The pool grows by every look: against a frozen reference the reference's own sampling error
    becomes drift. The size of the reference bounds what can be found: m rows hold at most
    m * d**2 / 2 nats against a shift of d sd, and ln(A) and some three more are needed.

    References
    ----------
    J. Shin, A. Ramdas and A. Rinaldo, E-detectors: a nonparametric framework for sequential
    change detection, arXiv 2203.03532 (2022).
    V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson and A. Gammerman, Retrain or not
    retrain: conformal test martingales for change-point detection, arXiv 2102.10439 (2021).
    """
    if not 1.0 < alarm_at < math.inf:
        raise InvalidInput(f"alarm_at is {alarm_at}; it counts looks, so it must exceed 1.")
    counts = as_counts(current, "current window")
    if counts.size != state.cells:
        message = f"{counts.size} counts over {state.cells} cells: not of this detector."
        raise InvalidInput(message)
    place = _pool_of(state, hour)
    before = state.pools[place]
    after = before + counts
    paid = state.bets.log_payoffs(counts.astype(np.float64), after) / state.dispersion
    logs = np.logaddexp(0.0, state.log_sums.astype(np.float64)) + paid
    weighed = logs + state.bets.log_prior
    evidence = float(np.logaddexp.reduce(weighed))
    climbs = np.maximum(state.climbs + paid, 0.0)
    onsets = np.where((state.climbs <= 0.0) | (climbs <= 0.0), at, state.onsets)
    best = int(np.argmax(weighed))
    alarm = evidence >= math.log(alarm_at)
    pools = state.pools.copy()
    pools[place] = after
    # Not by `replace`, which takes as long as a dozen of the sums above.
    next_state = DetectorState(
        ordered=state.ordered,
        pools=pools,
        dispersion=state.dispersion,
        log_sums=logs.astype(np.float32),
        climbs=climbs.astype(np.float32),
        onsets=onsets,
        looks=state.looks + 1,
        bets=state.bets,
    )
    leading, rising, cell = state.bets.name(best)
    return Look(
        state=_fresh(next_state) if alarm else next_state,
        log_evidence=evidence,
        alarm=alarm,
        leading=leading,
        rising=rising,
        cell=cell,
        onset_at=int(onsets[best]),
        n_pool=round(float(before.sum())),
        n_current=int(counts.sum()),
    )


def _fresh(state: DetectorState) -> DetectorState:
    bets = state.onsets.size
    return replace(
        state,
        log_sums=np.full(bets, -np.inf, np.float32),
        climbs=np.zeros(bets, np.float32),
        onsets=np.zeros(bets, np.int64),
        looks=0,
    )


def _pool_of(state: DetectorState, hour: int | None) -> int:
    if state.pools.shape[0] == 1:
        return 0
    if hour is None or not 0 <= hour < state.pools.shape[0]:
        raise InvalidInput(f"hour is {hour}; this detector needs the hour of the week, 0 to 167.")
    return hour


def _unseen(cells: Cells, counts: CountArray, singles: int | None) -> FloatArray:
    """Rows to be expected outside of what the reference had, had it one row more.

    Cells are cut so that nothing of the reference lies beyond them; taken at its word, the
    first new extreme would be drift.
    """
    unseen = np.zeros(counts.size)
    if isinstance(cells, CategoryCells):
        if singles is None:
            top = len(cells.top)
            rare = len(cells.rest) ** 2 / max(float(counts[top]), 1.0)
            singles = round(min(rare, len(cells.rest))) + int(np.sum(counts[:top] == 1))
        unseen[cells.new] = min(singles + 0.5, float(counts.sum())) if cells.complete else 0.0
        # Nobody bets on `other`: it makes up for them, so that the sum stays that of all rows.
        unseen[len(cells.top)] = -unseen[cells.new]
    else:
        unseen[[0, cells.ordered - 1]] = np.maximum(0.0, 1.0 - counts[[0, cells.ordered - 1]])
    return unseen
