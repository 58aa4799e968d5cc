"""The one table of two-sample statistics: what each promises, for contract tests and for docs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy.typing as npt

from stats.anderson import anderson_darling
from stats.chi2 import chi2_homogeneity
from stats.cvm import cramer_von_mises
from stats.divergence import hellinger, js_distance, kl_divergence, total_variation
from stats.energy import energy_distance
from stats.ks import ks
from stats.mmd import mmd
from stats.psi import psi
from stats.results import Measurement
from stats.wasserstein import wasserstein

Input = Literal["rows", "counts"]


@dataclass(frozen=True, slots=True)
class Method:
    """A statistic and what holds for it.

    Attributes
    ----------
    name : str
        As in reports and in `verdicts.statistic`.
    function : callable
        From reference and current window to a measurement.
    takes : str
        `rows`, or `counts` over cells that the reference fixed.
    high : float
        Largest value; the least is 0 for all.
    symmetric : bool
        Whether exchanging the windows changes nothing.
    shift_invariant, scale_invariant : bool
        Whether adding to, or multiplying, every row of both windows changes nothing; counts
        inherit it from their quantile cells.
    """

    name: str
    function: Callable[[npt.ArrayLike, npt.ArrayLike], Measurement]
    takes: Input
    high: float
    symmetric: bool
    shift_invariant: bool
    scale_invariant: bool


def wasserstein_sd(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Wasserstein-1 over the reference's standard deviation."""
    return wasserstein(reference, current, unit="sd")


def wasserstein_iqr(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Wasserstein-1 over the reference's quartile distance."""
    return wasserstein(reference, current, unit="iqr")


def wasserstein_winsorised(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Wasserstein-1 in sd of windows clipped at the reference's 0.1 % and 99.9 %."""
    return wasserstein(reference, current, unit="sd", winsorise=True)


METHODS = (
    Method("psi", psi, "counts", math.inf, True, True, True),
    Method("js_distance", js_distance, "counts", 1.0, True, True, True),
    Method("hellinger", hellinger, "counts", 1.0, True, True, True),
    Method("total_variation", total_variation, "counts", 1.0, True, True, True),
    Method("kl_divergence", kl_divergence, "counts", math.inf, False, True, True),
    Method("cramers_v", chi2_homogeneity, "counts", 1.0, True, True, True),
    Method("ks", ks, "rows", 1.0, True, True, True),
    Method("cramer_von_mises", cramer_von_mises, "rows", 0.5, True, True, True),
    Method("anderson_darling", anderson_darling, "rows", math.inf, True, True, True),
    Method("energy_distance", energy_distance, "rows", math.inf, True, True, False),
    Method("mmd", mmd, "rows", math.sqrt(2.0), True, True, True),
    Method("wasserstein", wasserstein, "rows", math.inf, True, True, False),
    Method("wasserstein_sd", wasserstein_sd, "rows", math.inf, False, True, True),
    Method("wasserstein_iqr", wasserstein_iqr, "rows", math.inf, False, True, True),
    Method("wasserstein_winsorised", wasserstein_winsorised, "rows", math.inf, False, True, True),
)
