"""References: what a feature looked like when things were well, named and versioned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from monitors.errors import BaselineInvalid, NoBaseline
from monitors.references.predicted import CLASS, class_names, feature_of_numbers
from monitors.references.rows import ColumnRows, CountedRows, FeatureRows, Groups
from monitors.references.stored import HOURS, MOST_FEATURES, Plan, stored_form
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


INPUT = "input."
"""What the names of models' inputs begin with."""


class Columns(Protocol):
    """Columns by name: a dictionary, a pandas DataFrame, ..."""

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return names and columns."""
        ...


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
    segments : mapping of str to ndarray of int64, shape (cells.size,)
        Counts of the rows of a segment, `key=value`; a row without a value is in none.
    hours : ndarray of int64, shape (168, cells.size), or None
        Counts by hour of the week, see `stored.hour_of_week`; None unless asked for.
    dispersion : float
        Variance of sums over looks, over that of as many independent rows; at least 1.
    singles : int or None
        Categories that one row has; None for numbers and for baselines that did not count them.
    """

    feature: str
    kind: Kind
    rows: int
    cells: NumericCells | CategoryCells
    counts: CountArray
    sample: Ecdf | None
    segments: Mapping[str, CountArray] = field(default_factory=dict)
    hours: CountArray | None = None
    dispersion: float = 1.0
    singles: int | None = None


def build_baseline(
    name: str, route: str, window: Window, columns: Mapping[str, ReferenceColumn], created_at: int
) -> Baseline:
    """Make version 1 of a baseline of columns alone: without segments and without hours.

    Parameters
    ----------
    columns : mapping of str to array_like of shape (rows,), or mapping of category to rows
        By feature; each is asked for once. A feature that is missing throughout is left out.

    Raises
    ------
    BaselineInvalid
        If no feature has enough rows.
    """
    cells: dict[str, object] = {}
    rows = 0
    for feature, column in columns.items():
        rows = max(rows, sum(column.values()) if isinstance(column, Mapping) else len(column))
        stored = stored_form(rows_of_column(feature, column), Plan())
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


def from_columns(
    columns: Columns,
    route: str,
    created_at: int,
    *,
    name: str = "default",
    started_at: npt.ArrayLike | None = None,
) -> Baseline:
    """Make a baseline of training data in memory: a DataFrame, or any mapping of arrays.

    Parameters
    ----------
    columns : mapping of str to array_like of shape (rows,)
        All of the same length. A name that is no signal becomes the input `input.<name>`. None,
        NaN and pandas' NA are missing. Numbers of `prediction` are classes where all are whole and
        below 1,000, else `prediction_value`.
    created_at : int
        Microseconds since the epoch.
    started_at : array_like of int64, shape (rows,), optional
        Microseconds since the epoch of each row, in any order; without it the rows are taken to
        be independent.

    Raises
    ------
    BaselineInvalid
        Columns differ in length or are too many, or no feature has enough rows.
    """
    named = [_named(str(column), values) for column, values in columns.items()]
    found = dict(named)
    if len(found) < len(named):
        names = ", ".join(feature for feature, _ in named)
        raise BaselineInvalid(f"two columns would be one feature of {names}; leave one out")
    lengths = {len(values) for values in found.values()}
    if len(lengths) > 1 or len(found) > MOST_FEATURES:
        raise BaselineInvalid(
            f"{len(found)} columns of {sorted(lengths)} rows make no baseline; give at most"
            f" {MOST_FEATURES}, all of the same length"
        )
    times = None if started_at is None else np.asarray(started_at, dtype=np.int64)
    groups = Groups(started_at=times)
    cells: dict[str, object] = {}
    for feature, values in found.items():
        rows = ColumnRows(_kind_of_feature(feature, values), values, groups)
        stored = stored_form(rows, Plan())
        if stored is not None:
            cells[feature] = stored
    if not cells:
        raise BaselineInvalid(f"no column of {sorted(lengths)} rows can be used as a feature")
    return Baseline(
        name=name,
        version=1,
        created_at=created_at,
        window_from=created_at - 1 if times is None else int(times.min()),
        window_to=created_at if times is None else int(times.max()) + 1,
        route=route,
        rows=max(lengths),
        cells=cells,
        source={"kind": "columns"},
    )


def _named(column: str, values: object) -> tuple[str, Column]:
    """Return a column with its feature's name."""
    plain = _plain(values)
    if column == CLASS and _kind_of(plain) == "numeric":
        numbers = np.asarray(plain, dtype=np.float64)
        feature = feature_of_numbers(numbers)
        return feature, class_names(numbers) if feature == CLASS else plain
    known = column in SIGNALS_BY_NAME or column.startswith(INPUT)
    return column if known else INPUT + column, plain


def _plain(values: object) -> Column:
    """Return a column of numpy's numbers, or of objects in which None is missing."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise BaselineInvalid(f"a column of shape {array.shape} is none; give one value for a row")
    if array.dtype.kind in "biuf":
        return array
    return [None if type(one).__name__ in {"NAType", "NaTType"} else one for one in array.tolist()]


def rows_of_column(feature: str, column: ReferenceColumn) -> FeatureRows:
    """Return a column as rows; a feature that is no signal is a number if its values are."""
    if isinstance(column, Mapping):
        return CountedRows(column)
    return ColumnRows(_kind_of_feature(feature, column), column)


def _kind_of_feature(feature: str, column: Column) -> Kind:
    signal = SIGNALS_BY_NAME.get(feature)
    return _kind_of(column) if signal is None else signal.kind


def _kind_of(column: Column) -> Kind:
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        return "numeric" if column.dtype.kind in "iuf" else "categorical"
    for value in column:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return "categorical"
    return "numeric"


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
    except (StatsError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BaselineInvalid(
            f"baseline `{label(baseline)}` of route `{baseline.route}` cannot be read ({error}); "
            "drop it with `monitor baseline drop` and set it again"
        ) from error


def numbers(column: Column) -> FloatArray:
    """Return a numeric column as float64; None becomes NaN."""
    return np.asarray(column, dtype=np.float64)


def _read(feature: str, stored: Mapping[str, Any]) -> Reference:
    cells = cells_from_dict(stored["cells"])
    numeric = isinstance(cells, NumericCells)
    counts = _counts_over(cells.size, feature, stored["counts"])
    return Reference(
        feature=feature,
        kind="numeric" if numeric else "categorical",
        rows=int(stored["rows"]),
        cells=cells,
        counts=counts,
        sample=Ecdf.of(stored["sample"], stored["weights"]) if numeric else None,
        segments={
            name: _counts_over(cells.size, feature, counted)
            for name, counted in _mapping(stored.get("segments", {})).items()
        },
        hours=_read_hours(feature, cells.size, stored.get("hours")),
        dispersion=max(1.0, float(stored.get("dispersion", 1.0))),
        singles=None if stored.get("singles") is None else int(stored["singles"]),
    )


def _read_hours(feature: str, size: int, stored: object) -> CountArray | None:
    if stored is None:
        return None
    hours = np.zeros((HOURS, size), dtype=np.int64)
    for hour, counted in _mapping(stored).items():
        if not 0 <= int(hour) < HOURS:
            raise ValueError(f"`{feature}` has an hour {hour} of the week")
        hours[int(hour)] = _counts_over(size, feature, counted)
    return hours


def _counts_over(size: int, feature: str, stored: object) -> CountArray:
    counts = np.asarray(stored, dtype=np.int64)
    if counts.shape != (size,):
        raise ValueError(f"`{feature}` has {counts.size} counts over {size} cells")
    return counts


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} instead of cells and counts")
    return value
