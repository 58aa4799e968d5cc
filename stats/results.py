"""What the statistics return: measurements with their sample sizes and 95 % intervals.

No result says whether something drifted; levels and verdicts belong to `monitors`.
"""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["raw", "sd", "iqr"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, or a pair of bounds where its owner says so."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """An effect between a reference and a current window.

    Attributes
    ----------
    value : float
        The effect; its range is in `methods.METHODS`.
    interval : Interval
        95 % interval of the population's value: sampling error only.
    n_reference, n_current : int
        Rows that were used.
    """

    value: float
    interval: Interval
    n_reference: int
    n_current: int


@dataclass(frozen=True, slots=True)
class Psi(Measurement):
    """Population stability index, in [0, inf).

    Attributes
    ----------
    p_value : float
        Chance of a larger PSI without drift, by the chi-square law of `psi.psi_threshold`.
    cells : int
        Cells that are not empty in both windows.
    contributions : tuple of float
        Share of the sum by cell, in the order of the counts; zero where both are empty.
    """

    p_value: float
    cells: int
    contributions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ks(Measurement):
    """Kolmogorov-Smirnov D, in [0, 1].

    Attributes
    ----------
    bounds : Interval
        What D of the raw rows can be: equal ends from rows, wider from buckets.
    at : float
        Value at which the two distribution functions lie furthest apart.
    """

    bounds: Interval
    at: float


@dataclass(frozen=True, slots=True)
class SquaredGap(Measurement):
    """Weighted mean of the squared gap of two distribution functions, and its test.

    Attributes
    ----------
    statistic : float
        As its source defines it; grows with the rows where `value` does not.
    p_value : float
        Chance of a larger statistic without drift.
    """

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Wasserstein(Measurement):
    """Wasserstein-1 distance, in [0, inf), in `unit`.

    Attributes
    ----------
    unit : str
        `raw`, `sd` (the reference's standard deviation) or `iqr` (its quartile distance).
    scale : float
        What the raw distance was divided by; 1.0 for `raw`.
    bounds : Interval
        What the distance of the raw rows can be: equal ends from rows, wider from buckets.
    clipped_at : Interval or None
        Range to which both windows were clipped, if they were.
    clipped_share : float
        Share of current rows outside of it, 0..1.
    """

    unit: Unit
    scale: float
    bounds: Interval
    clipped_at: Interval | None = None
    clipped_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Chi2(Measurement):
    """Homogeneity of two rows of counts; `value` is Cramér's V, in [0, 1].

    Attributes
    ----------
    statistic : float
        Pearson's X² of the merged table, without Yates' correction.
    degrees : int
        Degrees of freedom; 0 if a single cell is left.
    p_value : float
        Upper tail of the chi-square law; 1.0 if `degrees` is 0.
    merged : int
        Cells that were thrown together because they expected fewer than five rows.
    """

    statistic: float
    degrees: int
    p_value: float
    merged: int


@dataclass(frozen=True, slots=True)
class RateChange(Measurement):
    """Difference of two shares, current less reference, in [-1, 1].

    Attributes
    ----------
    reference_rate, current_rate : float
        Shares, 0..1.
    reference_interval, current_interval : Interval
        Wilson intervals of each.
    """

    reference_rate: float
    current_rate: float
    reference_interval: Interval
    current_interval: Interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of a single window with its 95 % interval and its rows."""

    value: float
    interval: Interval
    n: int
