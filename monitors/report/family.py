"""One report is one look at many features: Holm's correction keeps false findings rare together."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from monitors.baselines import Reference
from monitors.drift import Comparison
from stats.ks_p import ks_p_value
from stats.psi import psi_p_value, psi_threshold

FAMILY_LEVEL = 0.01
"""Chance that a report finds evidence in any feature of a route though none drifted."""


def share_level(
    found: Sequence[Comparison], references: Mapping[str, Reference]
) -> dict[str, tuple[Comparison, float]]:
    """Return each comparison at the level that Holm leaves to it, with its adjusted p-value.

    Rows that depend on each other count as fewer: evidence is read as if there were as many as
    the baseline's dispersion leaves.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979) 65-70.
    """
    shared: dict[str, tuple[Comparison, float]] = {}
    adjusted, alpha = 0.0, 0.0
    ordered = sorted((_with_fewer_rows(one, references) for one in found), key=_p_value)
    for rank, one in enumerate(ordered):
        left = len(ordered) - rank
        adjusted = max(adjusted, min(1.0, _p_value(one) * left))
        # Behind the first feature without evidence nothing has any.
        alpha = FAMILY_LEVEL / left if adjusted <= FAMILY_LEVEL or not rank else alpha
        shared[one.feature] = _at_level(one, references, alpha), adjusted
    return shared


def _p_value(found: Comparison) -> float:
    if found.ks_p is None:
        return found.likelihood_p
    return min(1.0, 2.0 * min(found.likelihood_p, found.ks_p))


def _with_fewer_rows(found: Comparison, references: Mapping[str, Reference]) -> Comparison:
    times = references[found.feature].dispersion
    if times <= 1.0 or not math.isfinite(found.threshold):
        return found
    psi, distance = found.psi, found.ks
    chance = psi_p_value(found.likelihood / times, psi.cells, psi.n_reference, psi.n_current)
    ks_p = found.ks_p
    if distance is not None and ks_p is not None:
        rows = (max(1, round(n / times)) for n in (distance.n_reference, distance.n_current))
        ks_p = ks_p_value(distance.value, *rows)
    return dataclasses.replace(found, likelihood_p=chance, ks_p=ks_p)


def _at_level(found: Comparison, references: Mapping[str, Reference], alpha: float) -> Comparison:
    moved = dataclasses.replace(found, alpha=alpha)
    if not math.isfinite(found.threshold):
        return moved
    psi = found.psi
    level = psi_threshold(moved.alpha_cells, psi.cells, psi.n_reference, psi.n_current)
    return dataclasses.replace(moved, threshold=level * references[found.feature].dispersion)
