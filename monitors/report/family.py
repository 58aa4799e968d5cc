"""One report is one look at many features: Holm's correction keeps false findings rare together."""

import dataclasses
import math
from collections.abc import Sequence

from monitors.drift import Comparison
from stats.corrections import holm
from stats.psi import psi_threshold

FAMILY_LEVEL = 0.01
"""Chance that a report finds evidence in any feature of a route though none drifted."""


def share_level(found: Sequence[Comparison]) -> dict[str, tuple[Comparison, float]]:
    """Return each comparison at the level that Holm leaves to it, with its adjusted p-value.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979) 65-70.
    """
    adjusted = holm([_p_value(one) for one in found]).tolist()
    ordered = sorted(zip(found, adjusted, strict=True), key=lambda pair: _p_value(pair[0]))
    rejected = sum(1 for value in adjusted if value <= FAMILY_LEVEL)
    shared: dict[str, tuple[Comparison, float]] = {}
    for rank, (one, value) in enumerate(ordered):
        # Behind the first feature without evidence no level grows.
        alpha = FAMILY_LEVEL / (len(ordered) - min(rank, rejected))
        shared[one.feature] = _at_level(one, alpha), value
    return shared


def _p_value(found: Comparison) -> float:
    if found.ks_p is None:
        return found.likelihood_p
    return min(1.0, 2.0 * min(found.likelihood_p, found.ks_p))


def _at_level(found: Comparison, alpha: float) -> Comparison:
    moved = dataclasses.replace(found, alpha=alpha)
    if not math.isfinite(found.threshold):
        return moved
    psi = found.psi
    level = psi_threshold(moved.alpha_cells, psi.cells, psi.n_reference, psi.n_current)
    return dataclasses.replace(moved, threshold=level * found.dispersion)
