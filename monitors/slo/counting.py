"""Good and bad requests of every window of an objective, from roll-ups.

Windows are cut into stretches that touch and share no row, so that raw rows are read at the
young end alone. The start of a window of an hour or more lies on the grid of the roll-ups, which
makes it up to 5 minutes, beyond a day up to an hour, longer.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from monitors.slo.burn import BUDGET_S, DAY_S, HOUR_S, WINDOWS_S, Tally
from monitors.slo.options import ERRORS
from monitors.windows import SECOND_US
from router.errors import Reason
from storage.log import CountRow, ValueCounts
from storage.log_reader import LogReader
from storage.reader import Scope, Window
from storage.rollups.buckets import bucket_of

_SLOT_US = 300 * SECOND_US
_HOUR_US = HOUR_S * SECOND_US
_OURS = frozenset({Reason.UPSTREAM_LIMITED, Reason.UPSTREAM_BUSY, Reason.OVERLOADED})
"""Reasons for which a client gets 429 that is no fault of its own."""

ROLE = "primary"

Row = TypeVar("Row", CountRow, ValueCounts)


class Stretch(NamedTuple):
    """A part of the past, and what was counted of it.

    Attributes
    ----------
    counts : mapping of str to sequence of CountRow
        By route; empty where no objective is about errors.
    values : mapping of str to sequence of ValueCounts
        By route, of the measures that objectives are about.
    """

    window: Window
    counts: Mapping[str, Sequence[CountRow]]
    values: Mapping[str, Sequence[ValueCounts]]


class PastReader:
    """Reads the stretches of a look; the old ones whenever their grid moves on, every 5 minutes.

    Parameters
    ----------
    measures : iterable of str
        Of `errors`, `latency_s` and `ttft_s`, what objectives are about.
    """

    def __init__(self, measures: Iterable[str]) -> None:
        self._measures = tuple(sorted(set(measures)))
        self._kept: dict[Window, Stretch] = {}

    def read(self, log: LogReader, at_us: int) -> list[Stretch]:
        """Return the stretches of all windows that end at a time, the youngest first."""
        found = [self._stretch(log, window) for window in stretches(at_us)]
        self._kept = {one.window: one for one in found if _is_old(one.window, at_us)}
        return found

    def _stretch(self, log: LogReader, window: Window) -> Stretch:
        if window in self._kept:
            return self._kept[window]
        scope = Scope(window, role=ROLE)
        timed = [measure for measure in self._measures if measure != ERRORS]
        return Stretch(
            window,
            _by_route(log.counts(scope) if ERRORS in self._measures else ()),
            _by_route(log.values(scope, timed) if timed else ()),
        )


def _by_route(rows: Iterable[Row]) -> dict[str, list[Row]]:
    # Objectives ask route by route: of hundreds, each would go through the rows of all.
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.route, []).append(row)
    return found


def stretches(at_us: int) -> list[Window]:
    """Return windows that touch, the youngest first: together they are each of `WINDOWS_S`."""
    starts = [at_us, *(start_of(at_us, length_s) for length_s in (*WINDOWS_S, BUDGET_S))]
    return [Window(older, younger) for younger, older in pairwise(starts)]


def start_of(at_us: int, length_s: int) -> int:
    """Return where a window that ends at a time starts."""
    start = max(0, at_us - length_s * SECOND_US)
    if length_s < HOUR_S:
        return start
    grid = _HOUR_US if length_s > DAY_S else _SLOT_US
    return start // grid * grid


def tallies_of(
    stretched: Sequence[Stretch], at_us: int, route: str, variant: str | None, good: "Good"
) -> dict[int, Tally]:
    """Add up what a route's objective counts, by window in seconds."""
    found: dict[int, Tally] = {}
    total = Tally(0, 0)
    lengths = iter((*WINDOWS_S, BUDGET_S))
    for stretch in stretched:
        total += _tally(stretch, route, variant, good)
        found[next(lengths)] = total
    assert stretched[0].window.to_us == at_us, "the youngest stretch ends at the look"
    return found


class Good(NamedTuple):
    """What makes a request good: no failure, or a time within `most_s`.

    Attributes
    ----------
    measure : str
        `errors`, `latency_s` or `ttft_s`.
    """

    measure: str
    most_s: float = 0.0


def _tally(stretch: Stretch, route: str, variant: str | None, good: Good) -> Tally:
    if good.measure == ERRORS:
        counts = stretch.counts.get(route, ())
        tallies = (_errors(row) for row in counts if variant in {None, row.variant})
    else:
        tallies = (
            _slow(row, good.most_s)
            for row in stretch.values.get(route, ())
            if row.measure == good.measure and variant in {None, row.variant}
        )
    return sum(tallies, start=Tally(0, 0))


def _errors(row: CountRow) -> Tally:
    if is_clients(row.status, row.reason):
        return Tally(0, 0)
    return Tally(row.n, row.n if row.reason or row.status >= 500 else 0)


def is_clients(status: int, reason: str) -> bool:
    """Say whether a request ended as it did because of the client: it counts neither way."""
    if reason == Reason.CLIENT_CLOSED:
        return True
    return 400 <= status <= 499 and reason not in _OURS


def _slow(row: ValueCounts, most_s: float) -> Tally:
    # A bucket is 2 % wide; the one that holds the limit counts as good.
    limit = bucket_of(most_s) or 0
    slow = int(row.counts[row.buckets > limit].sum())
    return Tally(int(row.counts.sum()), slow)


def _is_old(window: Window, at_us: int) -> bool:
    """Say whether a stretch comes again, and what started in it has ended long ago."""
    return window.to_us % _SLOT_US == 0 and window.to_us <= at_us - _HOUR_US
