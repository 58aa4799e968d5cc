"""The prediction log in plain Python: what every store behind the seam must answer."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import floor, isfinite, isnan
from typing import Any, NamedTuple, TypeVar

import numpy as np
from msgspec import structs

from storage.browse import LogFilter, Page, Position
from storage.log import (
    AttemptCounts,
    Buckets,
    CategoryCounts,
    CountRow,
    Counts,
    Coverage,
    Cutoffs,
    Removed,
    TimelineRow,
    ValueCounts,
    is_behind,
)
from storage.new_rows import Among, KeyColumn, NewRows, Rows
from storage.reader import Column, Record, Scope, Window
from storage.records import Attempt, Feedback, Prediction, Signals
from storage.rollups.buckets import bucket_of
from storage.rollups.state import RollupState
from storage.rollups.windows import cover
from storage.watermarks import Watermark
from storage.writer import Batch

T = TypeVar("T")
_FLAGS = ("refusal", "unknown_tool", "json_valid", "empty_output", "repeated_output")
_LANGUAGES = ("language", "answer_language")
_TEXT_COLUMNS = ("finish_reason", *_LANGUAGES, "error", "cache", "prediction", *_FLAGS)


class Row(NamedTuple):
    """One prediction, what can be watched of it, and the batch it came in."""

    facts: Prediction
    signals: Signals
    batch: int
    tries: tuple[Attempt, ...]

    @property
    def model(self) -> str:
        return self.facts.model_answered or self.facts.model_asked


class Try(NamedTuple):
    """One attempt with the prediction it belongs to."""

    facts: Prediction
    attempt: Attempt


class MemoryLog:
    """Keeps records in lists, counts them one by one."""

    def __init__(self) -> None:
        self._facts: list[Row] = []
        self._counted: list[Row] = []
        self._tries: list[Try] = []
        self._counted_tries: list[Try] = []
        self._feedback: list[Feedback] = []
        self._marks: dict[str, Watermark] = {}
        self._facts_from = 0
        self._batch = 0

    @contextmanager
    def snapshot(self) -> Iterator["MemoryLog"]:
        yield self

    def append(self, batch: Batch, *, now_us: int) -> Batch:
        if batch.marks and all(is_behind(m, self._marks.get(m.source)) for m in batch.marks):
            return Batch((), (), (), (), ())
        self._batch += 1
        for end, signals in zip(batch.ends, batch.signals, strict=True):
            row = Row(end.prediction, signals, self._batch, end.attempts)
            self._facts.append(row)
            self._counted.append(row)
            tries = [Try(end.prediction, attempt) for attempt in end.attempts]
            self._tries += tries
            self._counted_tries += tries
        self._feedback += batch.feedback
        self._marks |= {mark.source: mark.copy() for mark in batch.marks}
        return batch

    def watermarks(self) -> dict[str, Watermark]:
        return {source: mark.copy() for source, mark in self._marks.items()}

    def coverage(self, window: Window, *, exact: bool = False) -> Coverage:
        return cover(RollupState(facts_from=self._facts_from), window, exact=exact)

    def counts(self, scope: Scope, *, exact: bool = False) -> list[CountRow]:
        groups = _grouped(self._rows(scope, exact=exact), _count_key)
        return [_count(key, rows) for key, rows in groups]

    def values(
        self, scope: Scope, measures: Sequence[str], *, exact: bool = False
    ) -> list[ValueCounts]:
        found = []
        for (route, variant, role), rows in _grouped(self._rows(scope, exact=exact), _group):
            for measure in sorted(measures):
                numbers = [_number(row, measure) for row in rows]
                buckets = _bucketed(numbers)
                missing = sum(bucket_of(number) is None for number in numbers)
                found.append(ValueCounts(route, variant, role, measure, *buckets, missing))
        return found

    def categories(
        self, scope: Scope, features: Sequence[str], *, exact: bool = False
    ) -> list[CategoryCounts]:
        found = []
        for (route, variant, role), rows in _grouped(self._rows(scope, exact=exact), _group):
            for feature in sorted(features):
                words = [_word(row, feature) for row in rows]
                values = Counter(word[:64] for word in words if word is not None)
                missing = words.count(None)
                ordered = dict(sorted(values.items()))
                found.append(CategoryCounts(route, variant, role, feature, ordered, missing))
        return found

    def cells(
        self, scope: Scope, baseline: str, *, segment: str = ""
    ) -> Mapping[str, Mapping[int, int]]:
        return {}

    def attempts(self, scope: Scope, *, exact: bool = False) -> list[AttemptCounts]:
        coverage = self.coverage(scope.window, exact=exact)
        tries = [
            *(t for t in self._counted_tries if _within(t.attempt.started_at, [coverage.slots])),
            *(t for t in self._tries if _within(t.attempt.started_at, coverage.edges)),
        ]
        chosen = (
            t
            for t in tries
            if scope.route in {None, t.facts.route} and scope.role in {None, t.facts.role}
        )
        keyed = _grouped(chosen, lambda t: (t.facts.route, t.attempt.upstream, t.facts.role))
        return [AttemptCounts._make((*key, *_try_sums(group))) for key, group in keyed]

    def timeline(self, scope: Scope, step_us: int) -> list[TimelineRow]:
        groups = _grouped(
            self._rows(scope, exact=False),
            lambda row: (row.facts.started_at // step_us * step_us, row.facts.route),
        )
        return [_step(at, route, rows) for (at, route), rows in groups]

    def feature_columns(
        self,
        route: str,
        features: Sequence[str],
        window_from: int,
        window_to: int,
        *,
        variant: str | None = None,
    ) -> Mapping[str, Column]:
        scope = Scope(Window(window_from, window_to), route, variant=variant)
        rows = sorted(self._rows(scope, exact=True), key=lambda row: _order(row.facts))
        return _columns(rows, features)

    def rows_after(
        self,
        route: str,
        features: Sequence[str],
        after: int,
        *,
        keys: Sequence[str] = (),
        limit: int = 200_000,
    ) -> NewRows:
        scope = Scope(Window(0, 2**62), route)
        behind = [row for row in self._facts if row.batch > after and _chosen(row, scope)]
        read: list[Row] = []
        last, more = self._batch, False
        for _, rows in _grouped(behind, lambda row: row.batch):
            if read and len(read) + len(rows) > limit:
                last, more = read[-1].batch, True
                break
            read += sorted(rows, key=lambda row: _order(row.facts))
        started = np.array([row.facts.started_at for row in read], dtype=np.int64)
        known = {key: _keys(read, key) for key in keys}
        empty = Rows(np.zeros(0, dtype=np.int64), {}, {key: [] for key in keys})
        return NewRows(last, more, Rows(started, _columns(read, features), known), empty)

    def ids_in(self, scope: Scope, feature: str, among: Among, *, limit: int = 5) -> list[str]:
        rows = sorted(
            self._rows(scope, exact=True), key=lambda row: _order(row.facts), reverse=True
        )
        return [row.facts.id for row in rows if _is_among(row, feature, among)][:limit]

    def record(self, prediction_id: str) -> Record | None:
        for row in self._facts:
            if row.facts.id == prediction_id:
                said = [
                    structs.asdict(f) for f in self._feedback if f.prediction_id == row.facts.id
                ]
                tries = [structs.asdict(attempt) for attempt in row.tries]
                return {**_record(row), "attempt_list": tries, "feedback": said}
        return None

    def search(self, wanted: LogFilter, *, limit: int = 100) -> Page:
        rows = sorted(self._filtered(wanted), key=lambda row: _order(row.facts))
        found = [_record(row) for row in rows[-limit:]]
        return Page(found, Position(self._batch), len(rows) > limit)

    def following(self, wanted: LogFilter, after: Position, *, limit: int = 100) -> Page:
        behind = [
            row
            for row in self._filtered(wanted)
            if (row.batch, *(_order(row.facts) if after.id and row.batch == after.batch else ()))
            > (after.batch, *((after.started_at, after.id) if after.id else ()))
        ]
        behind.sort(key=lambda row: (row.batch, *_order(row.facts)))
        found = [_record(row) for row in behind[:limit]]
        if len(found) < limit:
            return Page(found, Position(self._batch), more=False)
        last = behind[limit - 1]
        return Page(found, Position(last.batch, *_order(last.facts)), more=True)

    def apply_retention(self, cutoffs: Cutoffs) -> Removed:
        before, counted = cutoffs
        sizes = (len(self._facts), len(self._tries), len(self._feedback))
        if before is not None:
            self._facts = [row for row in self._facts if row.facts.started_at >= before]
            self._tries = [t for t in self._tries if t.attempt.started_at >= before]
            self._feedback = [f for f in self._feedback if f.given_at >= before]
            self._facts_from = max(self._facts_from, before)
        if counted is not None:
            self._counted = [
                row for row in self._counted if row.facts.started_at // _SLOT * _SLOT >= counted
            ]
            self._counted_tries = [
                t for t in self._counted_tries if t.attempt.started_at // _SLOT * _SLOT >= counted
            ]
        left = (len(self._facts), len(self._tries), len(self._feedback))
        return Removed._make((*(a - b for a, b in zip(sizes, left, strict=True)), 0))

    def _rows(self, scope: Scope, *, exact: bool) -> list[Row]:
        coverage = self.coverage(scope.window, exact=exact)
        rows = [
            *(row for row in self._counted if _within(row.facts.started_at, [coverage.slots])),
            *(row for row in self._facts if _within(row.facts.started_at, coverage.edges)),
        ]
        return [row for row in rows if _chosen(row, scope)]

    def _filtered(self, wanted: LogFilter) -> list[Row]:
        scope = Scope(wanted.window, wanted.route, wanted.model, wanted.variant, wanted.role)
        return [
            row
            for row in self._facts
            if _within(row.facts.started_at, [wanted.window])
            and _chosen(row, scope)
            and wanted.reason in {None, row.facts.reason}
            and (not wanted.errors or _failed(row.facts))
            and (
                not wanted.statuses
                or any(low <= row.facts.status <= high for low, high in wanted.statuses)
            )
        ]


_SLOT = 300_000_000


def _within(at_us: int, windows: Iterable[Window]) -> bool:
    return any(window.from_us <= at_us < window.to_us for window in windows)


def _chosen(row: Row, scope: Scope) -> bool:
    return (
        scope.route in {None, row.facts.route}
        and scope.model in {None, row.model}
        and scope.variant in {None, row.facts.variant}
        and scope.role in {None, row.facts.role}
    )


def _grouped(items: Iterable[T], key: Callable[[T], Any]) -> list[tuple[Any, list[T]]]:
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.items(), key=lambda pair: pair[0])


def _group(row: Row) -> tuple[str, str, str]:
    return row.facts.route, row.facts.variant, row.facts.role


def _count_key(row: Row) -> tuple[object, ...]:
    p = row.facts
    said = (p.route, p.variant, p.role, p.upstream, row.model, p.cache, p.status, p.reason or "")
    return (*said, p.stream, p.fallback_from is not None)


def _count(key: Any, rows: Sequence[Row]) -> CountRow:
    facts = [row.facts for row in rows]
    tokens = [
        [getattr(p, f"{kind}_tokens") for p in facts]
        for kind in ("prompt", "response", "cached", "reasoning")
    ]
    costs = _nano(facts)
    sums = (
        len(rows),
        sum(p.truncated for p in facts),
        sum(p.attempts for p in facts),
        *(sum(n for n in column if n is not None) for column in tokens),
        *(sum(n is not None for n in column) for column in tokens),
        sum(costs),
        len(costs),
        sum(p.request_bytes for p in facts),
        sum(p.response_bytes for p in facts),
        min(p.started_at for p in facts),
        max(p.started_at for p in facts),
    )
    return CountRow._make((*key, *sums))


def _try_sums(group: Sequence[Try]) -> tuple[object, ...]:
    tries = [t.attempt for t in group]
    failed = sum(attempt.reason is not None for attempt in tries)
    retries = sum(attempt.attempt_no > 1 for attempt in tries)
    return (len(tries), failed, retries, *_bucketed([attempt.latency_s for attempt in tries]))


def _nano(facts: Iterable[Prediction]) -> list[int]:
    costs = (p.cost_usd for p in facts)
    scaled = [cost * 1e9 for cost in costs if cost is not None and isfinite(cost)]
    return [floor(cost) + (cost - floor(cost) >= 0.5) for cost in scaled]


def _step(at: int, route: str, rows: Sequence[Row]) -> TimelineRow:
    failed = sum(
        p.reason not in {None, "client_closed"} and not 400 <= p.status <= 499
        for p in (row.facts for row in rows)
    )
    costs = _nano(row.facts for row in rows)
    buckets = _bucketed([_number(row, "latency_s") for row in rows])
    return TimelineRow(at, route, len(rows), failed, sum(costs), len(costs), *buckets)


def _number(row: Row, name: str) -> float | None:
    if name in {"prompt_chars", "response_chars"}:
        value = getattr(row.signals, name)
    elif name == "confidence":
        value = row.signals.confidence if row.facts.confidence is None else row.facts.confidence
    elif name == "prediction_value":
        value = _float(_prediction(row))
    elif name in {"latency_s", "overhead_s"} and row.facts.reason == "interrupted":
        value = None
    else:
        value = getattr(row.facts, name)
    if name in {"cost_usd", "confidence"} and value is not None and not isfinite(value):
        value = None
    return None if value is None else float(value)


def _word(row: Row, name: str) -> str | None:
    if name == "finish_reason":
        return row.facts.finish_reason
    if name == "error":
        return "true" if _failed(row.facts) else "false"
    if name in _FLAGS:
        flag = getattr(row.signals, name)
        return None if flag is None else str(flag).lower()
    if name == "prediction":
        told = _prediction(row)
        if told is None or _float(told) is None:
            return told
        return told if re.fullmatch("[+-]?[0-9]{1,3}", told) else None
    if name in _LANGUAGES:
        return str(found) if (found := getattr(row.signals, name)) is not None else None
    return row.facts.cache


def _prediction(row: Row) -> str | None:
    return row.signals.prediction if row.facts.prediction is None else row.facts.prediction


def _float(told: str | None) -> float | None:
    try:
        return None if told is None else float(told)
    except ValueError:
        return None


def _columns(rows: Sequence[Row], features: Sequence[str]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name in features:
        if name in _TEXT_COLUMNS:
            columns[name] = [_word(row, name) for row in rows]
        else:
            numbers = [_number(row, name) for row in rows]
            columns[name] = np.array(
                [np.nan if number is None else number for number in numbers], dtype=np.float64
            )
    return columns


def _keys(rows: Sequence[Row], key: str) -> KeyColumn:
    if key == "tag":
        return [list(row.facts.tags) for row in rows]
    if key == "language":
        return [row.signals.language for row in rows]
    return [row.model if key == "model" else getattr(row.facts, key) for row in rows]


def _is_among(row: Row, feature: str, among: Among) -> bool:
    if feature in _TEXT_COLUMNS:
        return _word(row, feature) == among.value
    number = _number(row, feature)
    if number is None or isnan(number):
        return among == Among()
    if among == Among():
        return False
    return (among.low is None or number >= among.low) and (
        among.high is None or number < among.high
    )


def _failed(p: Prediction) -> bool:
    return p.reason != "client_closed" if p.reason is not None else p.status >= 400


def _bucketed(numbers: Iterable[float | None]) -> tuple[Buckets, Counts]:
    table = Counter(bucket for bucket in map(bucket_of, numbers) if bucket is not None)
    pairs = sorted(table.items())
    return (
        np.array([bucket for bucket, _ in pairs], dtype=np.int32),
        np.array([n for _, n in pairs], dtype=np.int64),
    )


def _order(p: Prediction) -> tuple[int, str]:
    return p.started_at, p.id


def _record(row: Row) -> Record:
    return {**structs.asdict(row.facts), "batch": row.batch}
