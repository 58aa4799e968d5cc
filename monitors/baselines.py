"""References: what a feature looked like when things were well, named and versioned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitors.errors import BaselineInvalid, NoBaseline
from monitors.signals.table import SIGNALS_BY_NAME, Kind
from monitors.windows import Window
from stats.arrays import CountArray, FloatArray
from stats.categories import CategoryCells, cells_from_dict
from stats.cells import NumericCells
from stats.ecdf import Ecdf
from stats.errors import StatsError
from storage.records import Baseline

Column = npt.NDArray[Any] | Sequence[object]
"""Values of a feature, a row each; None and NaN are missing."""

ReferenceColumn = Column | Mapping[str | None, int]
"""A reference's values: a row each, or rows by category."""

SAMPLE_ROWS = 4096
"""Order statistics of a reference that are kept for exact distances.

Evenly spaced ones: their distribution function is within 1 / (2 x 4096) of that of all rows.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One feature of a baseline, ready to compare.

    Attributes
    ----------
    rows : int
        All rows of the reference window, missing ones included.
    counts : ndarray of int64, shape (cells.size,)
        Reference rows by cell.
    sample : Ecdf or None
        At most `SAMPLE_ROWS` order statistics of a number; None for categories.
    """

    feature: str
    kind: Kind
    rows: int
    cells: NumericCells | CategoryCells
    counts: CountArray
    sample: Ecdf | None


def build_baseline(
    name: str, route: str, window: Window, columns: Mapping[str, ReferenceColumn], created_at: int
) -> Baseline:
    """Make version 1 of a baseline; `next_version` numbers it among its namesakes.

    Parameters
    ----------
    columns : mapping of str to array_like of shape (rows,), or mapping of category to rows
        By signal name; each is asked for once. A feature that is missing throughout is left out.

    Raises
    ------
    BaselineInvalid
        If no feature has enough rows.
    """
    cells: dict[str, object] = {}
    rows = 0
    for feature, column in columns.items():
        rows = max(rows, _rows_of(column))
        stored = _store(SIGNALS_BY_NAME[feature].kind, column)
        if stored is not None:
            cells[feature] = stored
    if not cells:
        raise BaselineInvalid(
            f"baseline `{name}` of route `{route}`: its window holds {rows} rows, too few for "
            "any feature; choose a longer one with `monitor baseline set`"
        )
    return Baseline(
        name=name,
        version=1,
        created_at=created_at,
        window_from=window.from_us,
        window_to=window.to_us,
        route=route,
        rows=rows,
        cells=cells,
    )


def next_version(baseline: Baseline, existing: Iterable[Baseline]) -> int:
    """Return the number for a baseline that is saved beside `existing`: none is ever replaced."""
    same = [b.version for b in existing if (b.name, b.route) == (baseline.name, baseline.route)]
    return max(same, default=0) + 1


def choose_baseline(
    baselines: Iterable[Baseline], route: str, name: str | None = None, version: int | None = None
) -> Baseline:
    """Return the named baseline of a route, or the one created last.

    Raises
    ------
    NoBaseline
        None fits; the message says how to set one.
    """
    fitting = [
        b
        for b in baselines
        if b.route == route
        and (name is None or b.name == name)
        and (version is None or b.version == version)
    ]
    if not fitting:
        wanted = "baseline" if name is None else f"baseline `{name}`"
        numbered = "" if version is None else f" version {version}"
        raise NoBaseline(
            f"route `{route}` has no {wanted}{numbered}; set one with `monitor baseline set` "
            "or with `monitors.baseline: {from, to}`"
        )
    return max(fitting, key=lambda b: (b.created_at, b.version))


def label(baseline: Baseline) -> str:
    """Return what verdicts call a baseline: `name@version`."""
    return f"{baseline.name}@{baseline.version}"


def read_references(baseline: Baseline) -> dict[str, Reference]:
    """Return the baseline's features, ready to compare.

    Raises
    ------
    BaselineInvalid
        If the stored form is not what `build_baseline` made.
    """
    try:
        return {name: _read(name, _mapping(stored)) for name, stored in baseline.cells.items()}
    except (StatsError, KeyError, TypeError, ValueError) as error:
        raise BaselineInvalid(
            f"baseline `{label(baseline)}` of route `{baseline.route}` cannot be read ({error}); "
            "drop it with `monitor baseline drop` and set it again"
        ) from error


def numbers(column: Column) -> FloatArray:
    """Return a numeric column as float64; None becomes NaN."""
    return np.asarray(column, dtype=np.float64)


def order_statistics(sample: Ecdf, limit: int = SAMPLE_ROWS) -> FloatArray:
    """Return at most `limit` rows of a sample: the middle one of each of `limit` equal parts."""
    if sample.n <= limit:
        return np.repeat(sample.support, sample.counts)
    ranks = (2 * np.arange(limit) + 1) * sample.n // (2 * limit)
    return sample.support[np.searchsorted(sample.cumulative[1:], ranks, side="right")]


def _rows_of(column: ReferenceColumn) -> int:
    return sum(column.values()) if isinstance(column, Mapping) else len(column)


def _store(kind: Kind, column: ReferenceColumn) -> dict[str, object] | None:
    builders: dict[Kind, Callable[[ReferenceColumn], dict[str, object]]] = {
        "numeric": _store_numeric,
        "categorical": _store_categorical,
    }
    try:
        return builders[kind](column)
    except StatsError:
        return None


def _store_numeric(column: ReferenceColumn) -> dict[str, object]:
    assert not isinstance(column, Mapping), "numbers come as rows"
    values = numbers(column)
    sample = Ecdf.of(values)
    cells = NumericCells.from_reference(sample)
    counts = cells.count(values)
    kept = Ecdf.of(order_statistics(sample))
    return {
        "rows": len(values),
        "cells": cells.to_dict(),
        "counts": counts.tolist(),
        "sample": kept.support.tolist(),
        "weights": kept.counts.tolist(),
    }


def _store_categorical(column: ReferenceColumn) -> dict[str, object]:
    values = column if isinstance(column, Mapping) else list(column)
    cells = CategoryCells.from_reference(values)
    return {
        "rows": _rows_of(column),
        "cells": cells.to_dict(),
        "counts": cells.count(values).tolist(),
    }


def _read(feature: str, stored: Mapping[str, Any]) -> Reference:
    cells = cells_from_dict(stored["cells"])
    numeric = isinstance(cells, NumericCells)
    counts = np.asarray(stored["counts"], dtype=np.int64)
    if counts.shape != (cells.size,):
        raise ValueError(f"`{feature}` has {counts.size} counts over {cells.size} cells")
    return Reference(
        feature=feature,
        kind="numeric" if numeric else "categorical",
        rows=int(stored["rows"]),
        cells=cells,
        counts=counts,
        sample=Ecdf.of(stored["sample"], stored["weights"]) if numeric else None,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} instead of cells and counts")
    return value
