"""The seam of the prediction log: what a store takes and what it answers, as plain values.

DuckDB's `Repository` is the first store behind it. A store counts and never computes statistics:
quantiles, distances and tests are made from these counts elsewhere, so that every store gives the
same answer. Counts are integers; money is counted in nano-dollars. Times are microseconds since
the epoch, UTC, and windows are closed at the start and open at the end.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from storage.browse import LogFilter, Page, Position
from storage.new_rows import Among, NewRows
from storage.reader import CATEGORY_FEATURES, Column, Record, Scope, Window
from storage.watermarks import Watermark
from storage.writer import Batch

Buckets = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]

MEASURES = (
    "latency_s",
    "ttft_s",
    "overhead_s",
    "time_per_output_token_s",
    "prompt_tokens",
    "response_tokens",
    "prompt_chars",
    "response_chars",
    "reasoning_tokens",
    "cost_usd",
    "tool_calls",
    "prediction_value",
    "confidence",
)
"""Numbers that are counted of every prediction; inputs of models are called `input.<name>`."""

ATTEMPT_LATENCY = "attempt_latency_s"
"""The seconds of every try, counted by upstream: without variant and model."""

CATEGORIES = CATEGORY_FEATURES
OTHER = "(other)"
"""Stands for the values of a category that has more than a slot keeps."""


class CountRow(NamedTuple):
    """Sums over the requests of a scope that agree in everything above `n`.

    Attributes
    ----------
    status : int
        HTTP status given to the client; 0 where the request was interrupted.
    reason : str
        Closed word of what went wrong; empty is success.
    fallback : bool
        Another upstream than the chosen one answered.
    n, truncated, attempts : int
        Requests, those of them that were cut, tries.
    prompt_tokens, response_tokens, cached_tokens, reasoning_tokens : int
        Sums over the requests that know them: as many as `*_known` says.
    cost_nano_usd, cost_known : int
        Sum in 1e-9 USD, each request rounded, and requests whose cost is known.
    first_at, last_at : int
        Microseconds since the epoch of the first and the last start.
    """

    route: str
    variant: str
    role: str
    upstream: str
    model: str
    cache: str
    status: int
    reason: str
    stream: bool
    fallback: bool
    n: int
    truncated: int
    attempts: int
    prompt_tokens: int
    response_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    prompt_known: int
    response_known: int
    cached_known: int
    reasoning_known: int
    cost_nano_usd: int
    cost_known: int
    request_bytes: int
    response_bytes: int
    first_at: int
    last_at: int


class ValueCounts(NamedTuple):
    """How often a number was seen.

    Attributes
    ----------
    measure : str
        One of `MEASURES`, `ATTEMPT_LATENCY`, or `input.<name>`.
    buckets : ndarray of int32, shape (k,)
        Ascending and distinct; `storage.rollups.buckets` says which numbers one holds.
    counts : ndarray of int64, shape (k,)
        Rows in each, all positive.
    missing : int
        Rows whose number is unknown.
    """

    route: str
    variant: str
    role: str
    measure: str
    buckets: Buckets
    counts: Counts
    missing: int


class CategoryCounts(NamedTuple):
    """How often each value of a category was seen.

    Attributes
    ----------
    values : dict of str to int
        Rows by value, in order of names; flags read `true` and `false`. A slot keeps 256 values
        of 64 characters; the rows of others are counted as `OTHER`.
    missing : int
        Rows whose value is unknown.
    """

    route: str
    variant: str
    role: str
    feature: str
    values: dict[str, int]
    missing: int


class AttemptCounts(NamedTuple):
    """Tries at one upstream.

    Attributes
    ----------
    n, failed, retries : int
        Tries, those with a reason, those that were not a prediction's first.
    buckets, counts : ndarray of int32 and int64, shape (k,)
        How long they took, as in `ValueCounts`.
    """

    route: str
    upstream: str
    role: str
    n: int
    failed: int
    retries: int
    buckets: Buckets
    counts: Counts


class TimelineRow(NamedTuple):
    """One route in one step of time.

    Attributes
    ----------
    at : int
        Start of the step, a whole multiple of its length since the epoch.
    failed : int
        A reason, no 4xx, and the client still there.
    buckets, counts : ndarray of int32 and int64, shape (k,)
        Latency, as in `ValueCounts`.
    """

    at: int
    route: str
    n: int
    failed: int
    cost_nano_usd: int
    cost_known: int
    buckets: Buckets
    counts: Counts


class Coverage(NamedTuple):
    """Where the answer for a window comes from.

    Attributes
    ----------
    slots : Window
        Read from roll-ups, whole slots; may be empty (`from_us == to_us`).
    edges : tuple of Window
        Read from raw rows, to the microsecond.
    window : Window
        What is covered: longer than asked for only where the raw rows of an edge have expired
        and its slots are therefore taken whole.
    """

    slots: Window
    edges: tuple[Window, ...]
    window: Window


class Cutoffs(NamedTuple):
    """What retention removes: everything that started before; None keeps all."""

    facts_before_us: int | None = None
    rollups_before_us: int | None = None


class Removed(NamedTuple):
    """Rows that retention removed."""

    predictions: int
    attempts: int
    feedback: int
    rollups: int


def is_behind(mark: Watermark, stored: Watermark | None) -> bool:
    """Return whether a mark is at or behind the stored one of its source."""
    if stored is None or (mark.finished and not stored.finished):
        return False
    return (mark.segment, mark.byte_offset) <= (stored.segment, stored.byte_offset)


class LogReads(Protocol):
    """What a store of predictions answers. Methods block and may raise `StorageError`."""

    def watermarks(self) -> dict[str, Watermark]:
        """Return how far each source is in, by source."""
        ...

    def coverage(self, window: Window, *, exact: bool = False) -> Coverage:
        """Return what the counts of a window are read from; `exact` reads raw rows alone."""
        ...

    def counts(self, scope: Scope, *, exact: bool = False) -> list[CountRow]:
        """Count requests, tokens, cost and bytes, in order of the fields above `n`."""
        ...

    def values(
        self, scope: Scope, measures: Sequence[str], *, exact: bool = False
    ) -> list[ValueCounts]:
        """Count numbers by bucket, in order of route, variant, role and measure."""
        ...

    def categories(
        self, scope: Scope, features: Sequence[str], *, exact: bool = False
    ) -> list[CategoryCounts]:
        """Count categories, in order of route, variant, role and feature."""
        ...

    def cells(
        self, scope: Scope, baseline: str, *, segment: str = ""
    ) -> Mapping[str, Mapping[int, int]]:
        """Count primary rows over a baseline's cells: feature to cell to rows.

        Parameters
        ----------
        scope : Scope
            With a route; model and variant are not told apart.
        baseline : str
            `name@version`.
        segment : str
            `key=value` of the baseline, or `key=(other)`; empty is all rows.

        Returns
        -------
        mapping
            Without features that have no rows. Empty where the cells of the window were not all
            counted: before the baseline was set (but for the 48 hours before it) or for one that
            is not the newest of its route.
        """
        ...

    def attempts(self, scope: Scope, *, exact: bool = False) -> list[AttemptCounts]:
        """Count tries by route, upstream and role; variant and model are not told apart."""
        ...

    def timeline(self, scope: Scope, step_us: int) -> list[TimelineRow]:
        """Count requests by step of time and route; steps without rows are absent."""
        ...

    def feature_columns(
        self,
        route: str,
        features: Sequence[str],
        window_from: int,
        window_to: int,
        *,
        variant: str | None = None,
    ) -> Mapping[str, Column]:
        """Return raw columns over the primary rows of a route, by start, then id.

        With inputs of models (`input.<name>`) among the features, over the rows of the inputs.
        """
        ...

    def rows_after(
        self,
        route: str,
        features: Sequence[str],
        after: int,
        *,
        keys: Sequence[str] = (),
        limit: int = 200_000,
    ) -> NewRows:
        """Return the primary rows of a route that batches after `after` brought.

        Whole batches and at least one, at most about `limit` rows. A read after the `batch` of
        the one before sees every row once, however late it came. A log that was made anew may
        end before `after`: then there are no rows, and its end is the batch to go on from.

        Parameters
        ----------
        features : sequence of str
            Signals and inputs of models (`input.<name>`).
        after : int
            Number of the batch that was read last; 0 and -1 are before all (-1: also before the
            rows of the oldest files).
        keys : sequence of str
            Keys of segments: `variant`, `model`, `version`, `tenant`, `language`, `tag`.
        """
        ...

    def ids_in(self, scope: Scope, feature: str, among: Among, *, limit: int = 5) -> list[str]:
        """Return the newest predictions of a scope whose feature has a value, newest first."""
        ...

    def record(self, prediction_id: str) -> Record | None:
        """Return one prediction with its `attempt_list`, `payload` and `feedback`."""
        ...

    def search(self, wanted: LogFilter, *, limit: int = 100) -> Page:
        """Return the newest facts of a filter, the oldest of them first, at most `limit`."""
        ...

    def following(self, wanted: LogFilter, after: Position, *, limit: int = 100) -> Page:
        """Return what came in behind a position, each row once, in the order it came in."""
        ...


class PredictionLog(LogReads, Protocol):
    """A store of predictions."""

    def snapshot(self) -> AbstractContextManager[LogReads]:
        """Lend reads that all see the log as it is now."""
        ...

    def append(self, batch: Batch, *, now_us: int) -> Batch:
        """Write a batch and its marks, all or nothing.

        A batch whose marks are all at or behind the stored ones is in already: nothing is written.

        Returns
        -------
        Batch
            What was written: numbers that fit no column are trimmed, records that fit no table
            left out, both with a loss each.
        """
        ...

    def apply_retention(self, cutoffs: Cutoffs) -> Removed:
        """Remove what is older than the cut-offs, in one transaction."""
        ...
