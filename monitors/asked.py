"""What every report asks of the log first; asking it needs none of the statistics."""

from typing import NamedTuple

from monitors.windows import Window
from storage.log import CATEGORIES, MEASURES
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow

ROWS_TO_READ = 50_000
"""Rows up to which all features of a window are read: some 30 ms."""


class ReportQuery(NamedTuple):
    """What a report is about; a `route` or `model` of None is any; `exact` reads rows.

    `detail` adds what charts need: the timeline, and histograms of features.
    """

    window: Window
    route: str | None = None
    model: str | None = None
    exact: bool = False
    detail: bool = False

    @property
    def everything(self) -> Scope:
        """All variants and roles."""
        return Scope(
            ReadWindow(self.window.from_us, self.window.to_us),
            route=self.route,
            model=self.model,
            role=None,
        )

    @property
    def primaries(self) -> Scope:
        """What drift is looked for in: baselines do not tell models apart."""
        return Scope(ReadWindow(self.window.from_us, self.window.to_us), route=self.route)


def ask_first(log: LogReader, query: ReportQuery) -> None:
    """Read what a report of many rows takes longest for."""
    if _are_many(log, query):
        log.values(query.everything, MEASURES)


def ask_beside(log: LogReader, query: ReportQuery) -> None:
    """Read what else it will ask for, at the same time."""
    log.attempts(query.everything)
    if _are_many(log, query):
        log.categories(query.primaries, CATEGORIES)
        for route, baseline in log.counted_baselines(query.primaries.window):
            if query.route in {None, route}:
                log.cells(query.primaries._replace(route=route), baseline)


def _are_many(log: LogReader, query: ReportQuery) -> bool:
    return sum(row.n for row in log.counts(query.everything)) > ROWS_TO_READ
