"""Fixed cells from a reference; counts over them are the state that every monitor keeps.

Counts of shards, windows and roll-ups add up to the counts of all their rows.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, Values, as_values
from stats.ecdf import Ecdf, as_weights, rank_of
from stats.errors import InvalidInput, NotEnoughSamples
from stats.gridded import Gridded, Prepared

DEFAULT_BINS = 10
SORTED_UP_TO = 1 << 12
"""Rows that are sorted sooner than their cells are searched one by one."""
TAIL_ROWS = 2
"""`invalid` and `missing`, at the end of every count vector over numeric cells."""


@dataclass(frozen=True, slots=True)
class NumericCells:
    """Cells of a number: `below`, the reference's bins, `above`, `invalid`, `missing`.

    A value that equals an edge goes up. The first edge is the reference's least value and the
    last one lies just above its greatest, so that `below` and `above` guard what the reference
    never had. NaN and None are missing; infinities are invalid, not outliers.

    Attributes
    ----------
    edges : tuple of float
        Ascending and distinct; k edges make k + 1 ordered cells.
    median, std, iqr : float
        Of the reference, for centring and for units; `std` has divisor n.
    low, high : float
        Least and greatest value of the reference.
    winsor_low, winsor_high : float
        Its 0.1 % and 99.9 % quantiles.
    """

    edges: tuple[float, ...]
    median: float
    std: float
    iqr: float
    low: float
    high: float
    winsor_low: float
    winsor_high: float

    @classmethod
    def from_reference(
        cls, values: Values | Prepared, *, bins: int = DEFAULT_BINS
    ) -> "NumericCells":
        """Cut a reference at its `bins - 1` inner quantiles.

        Edges are order statistics, so that any increasing map of the feature maps the edges too.
        A value with more than 1 / bins of the rows has a cell to itself: a constant reference
        then still shows a move from 0 to 1. Duplicate edges are removed.

        Raises
        ------
        NotEnoughSamples
            If there are fewer finite rows than bins.
        """
        if bins < 2:
            raise InvalidInput(f"bins is {bins}; at least 2 are needed to compare anything.")
        sample = values if isinstance(values, Ecdf | Gridded) else Ecdf.of(values)
        n = sample.n
        if n < bins:
            raise NotEnoughSamples(n, bins, "reference")
        shares = (0.5, 0.25, 0.75, 0.001, 0.999)
        ranks = [0, n - 1, *(rank_of(share, n) for share in shares)]
        found = sample.order(np.append(ranks, np.arange(1, bins) * n // bins))
        low, high, median, first, third, winsor_low, winsor_high = found[: len(ranks)].tolist()
        inner, heavy = found[len(ranks) :], sample.heavier(n / bins)
        ends = np.array([low, np.nextafter(high, np.inf)])
        edges = np.unique(np.concatenate((ends, inner, heavy, np.nextafter(heavy, np.inf))))
        return cls(
            edges=tuple(edges[np.isfinite(edges)].tolist()),
            median=median,
            std=sample.std(),
            iqr=third - first,
            low=low,
            high=high,
            winsor_low=winsor_low,
            winsor_high=winsor_high,
        )

    @property
    def ordered(self) -> int:
        """Cells that lie on the line: all but `invalid` and `missing`."""
        return len(self.edges) + 1

    @property
    def size(self) -> int:
        """Length of a count vector."""
        return self.ordered + TAIL_ROWS

    def count(self, values: Values, weights: npt.ArrayLike | None = None) -> CountArray:
        """Count rows by cell.

        Parameters
        ----------
        values : array_like, shape (n,)
            Numbers or None.
        weights : array_like of int, shape (n,), optional
            How often each row is repeated.

        Returns
        -------
        ndarray of int64, shape (size,)
        """
        array = as_values(values)
        if weights is None and array.size <= SORTED_UP_TO:
            return self._count_sorted(np.sort(array))
        cell = np.searchsorted(np.asarray(self.edges), array, side="right")
        cell[np.isinf(array)] = self.ordered
        cell[np.isnan(array)] = self.ordered + 1
        repeats = None if weights is None else as_weights(weights)
        return np.bincount(cell, weights=repeats, minlength=self.size).astype(np.int64)

    def _count_sorted(self, rows: FloatArray) -> CountArray:
        """Count ascending rows: infinities lie at the ends, NaN behind them."""
        ends = np.searchsorted(rows, (*self.edges, np.inf, np.nan), side="left")
        low = int(np.searchsorted(rows, -np.inf, side="right"))
        counts = np.diff(ends, prepend=low, append=rows.size).astype(np.int64, copy=False)
        counts[self.ordered] += low
        return counts

    def count_sample(self, sample: Prepared, *, invalid: int = 0, missing: int = 0) -> CountArray:
        """Count rows of a prepared sample, in no time, and those that it leaves out."""
        below = np.concatenate(([0], sample.below(np.asarray(self.edges)), [sample.n]))
        return np.concatenate((np.diff(below), [invalid, missing])).astype(np.int64)

    def labels(self) -> tuple[str, ...]:
        """Names of the cells for people, in the order of the counts."""
        edges = self.edges
        inner = [_bin_label(a, b) for a, b in itertools.pairwise(edges)]
        return (f"below {edges[0]:g}", *inner, f"from {edges[-1]:g}", "invalid", "missing")

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON keeps without loss."""
        return {
            "kind": "numeric",
            "edges": list(self.edges),
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "NumericCells":
        """Read what `to_dict` wrote; raises InvalidInput on anything else."""
        try:
            edges = tuple(float(edge) for edge in data["edges"])
            numbers = {name: float(data[name]) for name in _NUMBERS}
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not the stored form of numeric cells: {error!r}.") from error
        if not edges or any(a >= b for a, b in itertools.pairwise(edges)):
            raise InvalidInput("`edges` of numeric cells must be ascending and not empty.")
        return cls(edges=edges, **numbers)


_NUMBERS = ("median", "std", "iqr", "low", "high", "winsor_low", "winsor_high")


def _bin_label(low: float, high: float) -> str:
    single = high == np.nextafter(low, np.inf)
    return f"exactly {low:g}" if single else f"{low:g} to {high:g}"
