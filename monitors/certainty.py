"""How sure an effect is: beyond its sampling error, and whatever buckets may hide."""

import math

from monitors.drift import Comparison
from monitors.measured import psi_noise
from monitors.verdicts import Levels, far_from, has_evidence, severity_of
from stats.ks_p import ks_p_value
from stats.results import Measurement

CUT_MARGIN = 0.15
"""Of a level: cells cut at bucket borders moved the likelihood ratio by 8 % at most in trials."""


def could_change(
    comparison: Comparison, levels: Levels, *, was_open: bool = False, latched: bool = False
) -> bool:
    """Say whether the rows could give another verdict than the buckets did.

    PSI over cells is exact, but for what a heavy bucket may hide. D and the Wasserstein distance
    have bounds: the rows are needed where one of the two gates, evidence and material effect, opens
    somewhere between them.

    Parameters
    ----------
    was_open : bool
        An episode is open: what ends one looks at more than the two gates, so that any doubt of
        the distances counts.
    latched : bool
        A detector has given the evidence, which counted every row: only the effect is in doubt.
    """
    distance, moved = comparison.ks, comparison.wasserstein_sd
    if comparison.psi_doubt >= levels.psi / 2.0:
        return True
    if distance is None or distance.bounds.high <= distance.bounds.low:
        return False
    if was_open:
        return True
    by_cells = severity_of(comparison, levels, moved_sd=0.0) != "none"
    far = far_from(comparison, levels)
    least = by_cells or (moved is not None and moved.bounds.low >= far)
    most = by_cells or (moved is not None and moved.bounds.high >= far)
    if latched:
        return most != least
    if most and _is_near(comparison.likelihood, comparison.threshold):
        return True
    if _is_near_psi(comparison, levels):
        return True
    if has_evidence(comparison):
        return most != least
    # D at the borders is the least it can be: the evidence may only grow.
    rows = (distance.n_reference, distance.n_current)
    m, n = (max(1, round(count / comparison.dispersion)) for count in rows)
    p_value = ks_p_value(distance.bounds.high, m, n)
    return most and p_value < comparison.alpha / 2.0


def surely_material(comparison: Comparison, levels: Levels) -> bool:
    """Say whether some effect reaches its level even if the window's own luck is taken off it.

    The reference's luck is left: it was the same at every look before this one.
    """
    moved, new, least = comparison.wasserstein_sd, comparison.new, levels.share
    if moved is not None and _least(moved, moved.interval.high) >= levels.wasserstein_sd:
        return True
    if new is not None and new.interval.low >= levels.new_share:
        return True
    changes = [comparison.missing]
    changes += [] if comparison.share is None else [comparison.share.change]
    return comparison.psi.interval.low > levels.psi or any(
        max(_least(one, one.interval.high), -_least(one, one.interval.low)) >= least
        for one in changes
    )


def _least(found: Measurement, end: float) -> float:
    """Return a value less what the window's rows alone may add to it, towards the other end."""
    m, n = found.n_reference, found.n_current
    return found.value - (end - found.value) * math.sqrt(m / (m + n))


def _is_near_psi(comparison: Comparison, levels: Levels) -> bool:
    psi = comparison.psi
    # A cut moves the interval's end by as much as the value.
    if abs(psi.interval.low - levels.psi) < CUT_MARGIN * max(levels.psi, psi.value):
        return True
    return _is_near(psi.value - psi_noise(comparison), levels.critical_psi)


def _is_near(value: float, level: float) -> bool:
    return abs(value - level) < CUT_MARGIN * level
