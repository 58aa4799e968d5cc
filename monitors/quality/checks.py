"""What is counted of a feature, and the checks that are made of it.

Contracts are read from roll-ups, whose buckets of numbers are 2 % wide: rows in the bucket of a
limit count as within it. Rates are read from the baseline's own cells, exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.baselines import Reference
from monitors.quality.judge import Check, Finding, Limits, Share
from monitors.quality.options import ContractOptions
from stats.arrays import CountArray
from stats.cells import NumericCells
from stats.confidence import newcombe
from storage.log import OTHER, Buckets, CategoryCounts, ValueCounts
from storage.rollups.buckets import INFINITE, bucket_of
from storage.rollups.statements import VALUE_CHARS

INPUT = "input."
"""What the names of model inputs begin with."""
FLAGS = frozenset({"true", "false"})
VARIED = 0.5
"""A feature whose most frequent cell held more than this is no news when it stands still."""
_KINDS = 3
"""Values within one window that say of a feature that it varies by the row, not by the day."""
_GUARDS = 2
"""The reference's own least and greatest row: a new row lies beyond them as easily as they did."""


class Seen(NamedTuple):
    """A feature's primary rows in a window, all variants together.

    Attributes
    ----------
    buckets, counts : ndarray of int, shape (k,)
        Of numbers, as in `ValueCounts`; a bucket may stand there more than once.
    words : dict of str to int
        Texts and flags.
    rows : int
        Missing ones included.
    """

    buckets: Buckets
    counts: CountArray
    words: Mapping[str, int]
    rows: int

    @property
    def numbers(self) -> int:
        """Rows that are numbers."""
        return int(self.counts.sum())

    @property
    def texts(self) -> int:
        """Rows that are none."""
        return sum(self.words.values())

    def outside(self, low: int, high: int) -> int:
        """Return the rows of the buckets that lie below one or above another."""
        return int(self.counts[(self.buckets < low) | (self.buckets > high)].sum())


def seen_of(
    values: Sequence[ValueCounts], categories: Sequence[CategoryCounts]
) -> dict[tuple[str, str], Seen]:
    """Add up variants, by route and feature; shadows are left out."""
    numbers: dict[tuple[str, str], list[ValueCounts]] = {}
    texts: dict[tuple[str, str], list[CategoryCounts]] = {}
    for value in values:
        if value.role == "primary":
            numbers.setdefault((value.route, value.measure), []).append(value)
    for category in categories:
        if category.role == "primary":
            texts.setdefault((category.route, category.feature), []).append(category)
    return {
        key: _seen(numbers.get(key, ()), texts.get(key, ()))
        for key in dict.fromkeys((*numbers, *texts))
    }


def _seen(numbers: Sequence[ValueCounts], texts: Sequence[CategoryCounts]) -> Seen:
    words: dict[str, int] = {}
    for group in texts:
        for word, rows in group.values.items():
            words[word] = words.get(word, 0) + rows
    buckets = np.concatenate([np.zeros(0, np.int32), *(value.buckets for value in numbers)])
    counts = np.concatenate([np.zeros(0, np.int64), *(value.counts for value in numbers)])
    # A feature that comes as both has a column for each, of which one is empty in every row.
    of_numbers = int(counts.sum()) + sum(value.missing for value in numbers)
    of_texts = sum(words.values()) + sum(group.missing for group in texts)
    return Seen(buckets, counts, words, max(of_numbers, of_texts))


def is_declared(contract: ContractOptions) -> bool:
    """Say whether a contract says anything."""
    told = (contract.min, contract.max, contract.categories, contract.type)
    return contract.required or any(part is not None for part in told)


def contract_checks(seen: Seen, contract: ContractOptions) -> Iterator[Check]:
    """Give a check for each part of a contract."""
    present, tolerance = seen.numbers + seen.texts, contract.tolerance
    if contract.required:
        missing = Share(max(0, seen.rows - present), seen.rows)
        yield Check("missing_rate", "missing values where one is required", missing, tolerance)
    if contract.min is not None or contract.max is not None:
        low, high = _bucket(contract.min, -INFINITE), _bucket(contract.max, INFINITE)
        beyond = seen.outside(low, high)
        span = f"values outside {_told(contract.min)} to {_told(contract.max)}"
        yield Check("out_of_range_rate", span, Share(beyond, seen.numbers), tolerance)
    if contract.categories is not None:
        # What a slot has no room for may be any value; long values are cut there.
        allowed = {*(one[:VALUE_CHARS] for one in contract.categories), OTHER}
        strange = {word: rows for word, rows in seen.words.items() if word not in allowed}
        names = ", ".join(f"`{word}`" for word in sorted(strange)[:3])
        told = f"values that are not declared ({names})" if names else "values not declared"
        yield Check("undeclared_rate", told, Share(sum(strange.values()), present), tolerance)
    if contract.type is not None:
        wrong = {
            "number": seen.texts,
            "text": seen.numbers,
            "flag": present - sum(seen.words.get(word, 0) for word in FLAGS),
        }[contract.type]
        told = f"values that are no {contract.type}"
        yield Check("type_rate", told, Share(wrong, present), tolerance)


def _bucket(limit: float | None, default: int) -> int:
    found = None if limit is None else bucket_of(limit)
    return default if found is None else found


def _told(limit: float | None) -> str:
    return "anything" if limit is None else f"{limit:g}"


class Levels(NamedTuple):
    """Rises of shares that matter, 0..1."""

    share: float
    new_share: float
    outliers: float


def rate_checks(reference: Reference, now: Mapping[int, int], levels: Levels) -> Iterator[Check]:
    """Give a check for each rate that is compared with the baseline's.

    Parameters
    ----------
    now : mapping of int to int
        Rows by cell of the reference.
    """
    cells, before = reference.cells, reference.counts
    m, n = int(before.sum()), sum(now.values())

    def share(*chosen: int) -> tuple[Share, Share]:
        rows = sum(now.get(cell, 0) for cell in chosen)
        return Share(rows, n), Share(int(before[list(chosen)].sum()), m)

    current, past = share(cells.size - 1)
    yield Check("missing_rate", "missing values", current, levels.share, past)
    if isinstance(cells, NumericCells):
        current, past = share(cells.size - 2)
        yield Check("invalid_rate", "infinite values", current, levels.share, past)
        current, past = share(0, cells.ordered - 1)
        past = Share(min(m, past.hits + _GUARDS), m)
        told = f"values outside the baseline's {cells.low:g} to {cells.high:g}"
        yield Check("outlier_rate", told, current, levels.outliers, past)
    else:
        current, past = share(cells.new)
        told = "values that the baseline never had"
        yield Check("new_rate", told, current, levels.new_share, past)


def varies(seen: Seen, limits: Limits) -> bool:
    """Say whether a window shows that a feature varies from row to row.

    A weekday or a version varies in the baseline, and stands still in any window for a good reason.
    """
    enough = seen.numbers + seen.texts >= limits.min_samples
    return enough and _kinds(seen) >= _KINDS


def _kinds(seen: Seen) -> int:
    return len(np.unique(seen.buckets)) + len(seen.words)


def standstill(reference: Reference, seen: Seen, limits: Limits) -> Finding | None:
    """Return what a feature that does not vary any more gives, None for one that does.

    So many rows alike are as likely as the share of the baseline's most frequent cell to the power
    of them, at most; a feature of which one cell held `VARIED` or more is left out.
    """
    cells = reference.counts[:-1]
    most, m = int(cells.max(initial=0)), int(cells.sum())
    n = seen.numbers + seen.texts
    if min(m, n) < limits.min_samples or most > VARIED * m or _kinds(seen) > 1:
        return None
    chance = (most / m) ** (n / reference.dispersion)
    check = Check("constant", "the same value throughout", Share(n, n), 1.0, Share(most, m))
    interval = newcombe(most, m, n, n)
    return Finding(check, interval, chance, chance < limits.alpha, is_calm=False)
