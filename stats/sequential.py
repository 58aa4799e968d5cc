"""Tests that may be read at every look: e-values from running sums, each at most 1 on average.

An e-value of 1 / alpha or more at any look refutes with error alpha: 20 for 5 %, however often
one has looked. `corrections.e_to_p` makes it a p-value.
"""

import math
from collections.abc import Sequence

from stats.confidence import LEVEL
from stats.errors import InvalidInput, NotEnoughSamples
from stats.sequences import (
    LEAST_ROWS,
    Moments,
    harmonic,
    log_likelihood,
    log_mixture,
    mixing_rows,
)

PLAN_STRENGTH = 100.0
"""Rows that the plan is worth in `split_e_value`: its Dirichlet law's concentration."""
_LARGEST = 700.0


def means_e_value(reference: Moments, current: Moments, *, level: float = LEVEL) -> float:
    """Evidence that two means differ: mixture sequential probability ratio test.

    Parameters
    ----------
    reference, current : Moments
        Independent arms.
    level : float
        That of the confidence sequence which this agrees with; it tunes the mixture alone.

    Returns
    -------
    float
        >= 0, infinite where two constants differ; reaches 1 / (1 - level) when
        `sequences.mean_difference` leaves zero out. An e-value in the limit of many rows.

    Raises
    ------
    NotEnoughSamples
        If an arm has fewer than `sequences.LEAST_ROWS` rows.

    References
    ----------
    H. Robbins (1970), as in `sequences.mean_difference`. R. Johari, P. Koomen, L. Pekelis and
    D. Walsh, Always valid inference, Operations Research 70 (2022) 1806-1821.

    Examples
    --------
    >>> round(means_e_value(Moments(1000, 10.0, 4.0), Moments(1000, 10.5, 4.0)))
    389787
    """
    for arm, window in ((reference, "reference"), (current, "current window")):
        if arm.n < LEAST_ROWS:
            raise NotEnoughSamples(arm.n, LEAST_ROWS, window)
    variance = reference.variance / (reference.n - 1) + current.variance / (current.n - 1)
    gap = current.mean - reference.mean
    if variance == 0.0:
        return math.inf if gap else 1.0
    rows, mixing = harmonic(reference.n, current.n), mixing_rows(level)
    grown = gap * gap / variance * rows / (2.0 * (rows + mixing))
    return _exp(grown - math.log1p(rows / mixing) / 2.0)


def shares_e_value(reference_hits: int, m: int, current_hits: int, n: int) -> float:
    """Evidence that two shares differ, exact for any m and n.

    Parameters
    ----------
    reference_hits, m, current_hits, n : int
        Hits and rows of both arms, whose rows may come in any order and at different rates.

    Returns
    -------
    float
        >= 0; both arms' Beta mixtures over the largest likelihood of one share for both.

    Raises
    ------
    NotEnoughSamples
        If an arm is empty.

    References
    ----------
    Wasserman, Ramdas and Balakrishnan (2020), as in `sequences.share_difference`. R. Turner,
    A. Ly and P. Grunwald, Generic e-variables for exact sequential k-sample tests, Journal of
    Statistical Planning and Inference 230 (2024) 106116.

    Examples
    --------
    >>> round(shares_e_value(50, 1000, 120, 1000))
    6821
    """
    for rows, hits, window in (
        (m, reference_hits, "reference"),
        (n, current_hits, "current window"),
    ):
        if rows < 1:
            raise NotEnoughSamples(rows, 1, window)
        if not 0 <= hits <= rows:
            raise InvalidInput(f"{hits} hits of {rows} rows; hits must lie in 0..n.")
    hits, rows = reference_hits + current_hits, m + n
    apart = log_mixture(reference_hits, m) + log_mixture(current_hits, n)
    return _exp(apart - log_likelihood(hits, rows, hits / rows))


def split_e_value(rows: Sequence[int], planned: Sequence[float]) -> float:
    """Evidence that traffic is not split as planned: sample-ratio mismatch.

    Parameters
    ----------
    rows : sequence of int, length k
        Rows of each arm; none at all is no evidence, 1.0.
    planned : sequence of float, length k
        Shares or weights > 0, fixed before; k >= 2.

    Returns
    -------
    float
        >= 0; the Dirichlet mixture of likelihoods around the plan over the plan's own. Exact
        for any number of rows.

    References
    ----------
    M. Lindon and A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 35 (2022).

    Examples
    --------
    >>> split_e_value([5210, 4790], [0.5, 0.5]) > 20.0
    True
    """
    if len(rows) != len(planned) or len(rows) < 2:
        raise InvalidInput(f"{len(rows)} arms of {len(planned)} planned; give each, two at least.")
    if min(planned) <= 0.0 or min(rows) < 0:
        raise InvalidInput("planned shares must be above 0 and rows at least 0.")
    whole, n = math.fsum(planned), sum(rows)
    total = math.lgamma(PLAN_STRENGTH) - math.lgamma(PLAN_STRENGTH + n)
    for count, weight in zip(rows, planned, strict=True):
        part = PLAN_STRENGTH * weight / whole
        total += math.lgamma(part + count) - math.lgamma(part) - count * math.log(weight / whole)
    return _exp(total)


def _exp(log: float) -> float:
    """Exponential that stays finite, since infinite evidence does not add up."""
    return math.exp(min(log, _LARGEST))
