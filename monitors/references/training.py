"""References from a training file, or from any columns in memory."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.errors import BaselineInvalid
from monitors.references.predicted import CLASS, feature_of_numbers
from monitors.references.rows import Groups
from monitors.references.stored import MOST_FEATURES, SEASON_US, Plan, stored_form
from monitors.signals.table import SIGNALS_BY_NAME, Kind
from stats.arrays import CountArray, FloatArray
from storage.records import Baseline
from storage.training import ColumnKind, TrainingFile

INPUT = "input."
STARTED_AT = "started_at"
"""What a column with the rows' times is mapped to."""
_KINDS: Mapping[ColumnKind, Kind] = {"number": "numeric", "words": "categorical"}


class Training(NamedTuple):
    """What a file is to become.

    Attributes
    ----------
    mapped : mapping of str to str
        Column to feature: a signal, `input.<name>`, `started_at`, or "" to leave it out.
    mapped_only : bool
        Leave out every column that is not mapped.
    seasonal : bool
        Keep counts by hour of the week; needs a column that is mapped to `started_at`.
    """

    name: str
    route: str
    file: str
    mapped: Mapping[str, str]
    mapped_only: bool = False
    seasonal: bool = False


class Built(NamedTuple):
    """A reference, and what of its file is not in it: column to why."""

    baseline: Baseline
    left_out: Mapping[str, str]


def from_training(file: TrainingFile, training: Training, now_us: int) -> Built:
    """Build a reference from a file's columns.

    A column is the signal of its name, or else the input `input.<its name>`. Numbers are taken for
    `prediction` where all are whole and below 1,000, as classes are, else for `prediction_value`.

    Raises
    ------
    BaselineInvalid
        A mapping does not fit the file, there are too many columns, or none can be used.
    """
    features, left_out = _features(file, training)
    started = [name for name, feature in training.mapped.items() if feature == STARTED_AT]
    groups = Groups(in_order=True)
    if started:
        groups = Groups(started_at=file.times(started[0]))
    _check_season(training, groups)
    plan = Plan(seasonal=training.seasonal)
    cells: dict[str, object] = {}
    for column, feature in features.items():
        is_class = feature == CLASS and file.columns[column] == "number"
        rows = _ClassRows(file, column, groups) if is_class else _FileRows(file, column, groups)
        stored = stored_form(rows, plan)
        if stored is None:
            left_out[column] = "too few rows have a value"
        else:
            cells[feature] = stored
    if not cells:
        why = "; ".join(f"`{column}`: {reason}" for column, reason in left_out.items())
        raise BaselineInvalid(
            f"{training.file} has {file.rows} rows and no column that can be used ({why or 'none'})"
        )
    source: dict[str, object] = {"kind": "file", "file": training.file}
    if training.mapped:
        source["mapped"] = dict(training.mapped)
    if training.seasonal:
        source["seasonal"] = True
    return Built(_baseline(training, cells, file.rows, source, now_us), left_out)


def _baseline(
    training: Training,
    cells: dict[str, object],
    rows: int,
    source: dict[str, object],
    now_us: int,
) -> Baseline:
    return Baseline(
        name=training.name,
        version=1,
        created_at=now_us,
        # A file has no period; the instant before it was set stands for it.
        window_from=now_us - 1,
        window_to=now_us,
        route=training.route,
        rows=rows,
        cells=cells,
        source=source,
    )


def _features(file: TrainingFile, training: Training) -> tuple[dict[str, str], dict[str, str]]:
    """Return column to feature, and the columns that are left out, with why."""
    _check_mapping(file, training)
    features: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for column, kind in file.columns.items():
        feature = training.mapped.get(column)
        if feature == STARTED_AT:
            continue
        if feature is None:
            feature = column if column in SIGNALS_BY_NAME or _is_input(column) else INPUT + column
            feature = "" if training.mapped_only else feature
        if feature == CLASS and kind == "number":
            feature = feature_of_numbers(file.numbers(column))
        why = _why_not(feature, kind)
        if why is None:
            features[column] = feature
        else:
            left_out[column] = why
    _check_features(features, training)
    return features, left_out


def _check_features(features: Mapping[str, str], training: Training) -> None:
    if len(features) > MOST_FEATURES:
        raise BaselineInvalid(
            f"{training.file} has {len(features)} columns, a baseline at most {MOST_FEATURES}"
            " features; map those that count and leave out the others with `--mapped-only`"
        )
    seen: dict[str, str] = {}
    for column, feature in features.items():
        if feature in seen:
            raise BaselineInvalid(
                f"columns `{seen[feature]}` and `{column}` would both be `{feature}`; leave one"
                f" out with `--map {column}=`"
            )
        seen[feature] = column


def _why_not(feature: str, kind: ColumnKind) -> str | None:
    if not feature:
        return "left out by its mapping"
    if kind not in _KINDS:
        return "neither numbers nor text"
    signal = None if feature == CLASS and kind == "number" else SIGNALS_BY_NAME.get(feature)
    if signal is not None and signal.kind != _KINDS[kind]:
        return f"`{feature}` is {signal.kind}, the column is {_KINDS[kind]}"
    return None


def _check_mapping(file: TrainingFile, training: Training) -> None:
    for column, feature in training.mapped.items():
        if column not in file.columns:
            known = ", ".join(list(file.columns)[:20])
            raise BaselineInvalid(
                f"{training.file} has no column `{column}`; its columns are {known}"
            )
        if feature and feature not in {STARTED_AT, *SIGNALS_BY_NAME} and not _is_input(feature):
            raise BaselineInvalid(
                f"`{feature}` is no feature; map `{column}` to `{INPUT}{feature}`,"
                f" to `{STARTED_AT}` or to a signal: {', '.join(SIGNALS_BY_NAME)}"
            )


def _check_season(training: Training, groups: Groups) -> None:
    if not training.seasonal:
        return
    if groups.started_at is None:
        raise BaselineInvalid(
            "hours of the week need each row's time: name its column with"
            f" `--map COLUMN={STARTED_AT}`"
        )
    if int(groups.started_at.max() - groups.started_at.min()) < SEASON_US * 13 // 14:
        raise BaselineInvalid(
            f"the rows of {training.file} span less than two weeks; hours of the week need that"
            " much: go without `--seasonal`"
        )


def _is_input(name: str) -> bool:
    return name.startswith(INPUT) and len(name) > len(INPUT)


class _FileRows:
    """A column of a file."""

    discrete: bool | None = None

    def __init__(self, file: TrainingFile, column: str, groups: Groups) -> None:
        self._file = file
        self._column = column
        self._groups = groups
        self.kind: Kind = _KINDS[file.columns[column]]

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Read the column as numbers."""
        return self._file.numbers(self._column), self._groups

    def table(self) -> Mapping[str | None, int]:
        """Count the column's words."""
        return self._file.table(self._column)

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Read the column as places."""
        return self._file.places(self._column, top), self._groups


class _ClassRows:
    """A column of whole numbers that stand for classes."""

    kind: Kind = "categorical"
    discrete: bool | None = None

    def __init__(self, file: TrainingFile, column: str, groups: Groups) -> None:
        values = file.numbers(column)
        self._groups = groups
        self._is_known = ~np.isnan(values)
        # A file with gaps has 1.0 where the model answers 1.
        self._classes = values[self._is_known].astype(np.int64)

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Say that it is no number."""
        raise TypeError("a class has no numbers")

    def table(self) -> Mapping[str | None, int]:
        """Count the classes."""
        names, counts = np.unique(self._classes, return_counts=True)
        found: dict[str | None, int] = dict(
            zip(map(str, names.tolist()), counts.tolist(), strict=True)
        )
        unknown = self._is_known.size - self._classes.size
        return found | ({None: unknown} if unknown else {})

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Read the column as places."""
        codes = np.full(self._is_known.size, -1, dtype=np.int64)
        found = np.full(self._classes.size, len(top), dtype=np.int64)
        for place, name in enumerate(top):
            found[self._classes == int(name)] = place
        codes[self._is_known] = found
        return codes, self._groups
