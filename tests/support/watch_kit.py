"""Monitors of levels over a real prediction log, with the alerts that they raise."""

from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import msgspec
from support.log_records import end_of, signals_of

from monitors.alerts.pipeline import AlertPipeline
from monitors.config import MonitorsConfig
from storage.database import Database
from storage.records import End, Signals, Verdict
from storage.repository import Repository
from storage.writer import Batch, write_batch

MINUTE_US = 60_000_000
NOW = 1_795_000_000_000_000
ROUTES = ("chat", "other")


class SetClock:
    """A `Clock` that stands where it is put."""

    def __init__(self, us: int = NOW) -> None:
        self.us = us

    def monotonic(self) -> float:
        """Return seconds."""
        return self.us / 1e6

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return self.us


class Run(Protocol):
    """A monitor of levels."""

    def run_once(self, now_us: int) -> list[Verdict]:
        """Look."""
        ...


MakeRun = Callable[..., Run]
"""Takes a store, options, routes and who is told of a look."""


class Watch:
    """One monitor over a database, and the alerts that it raises."""

    def __init__(self, database: Database, make: MakeRun, **options: Any) -> None:
        self.database = database
        self.repository = Repository(database)
        self.clock = SetClock()
        self.make = make
        self._numbers = count(1)
        self.start(**options)

    def start(self, **options: Any) -> None:
        """Begin anew, as after a restart or with another configuration."""
        ids = (f"alert-{number}" for number in self._numbers)
        pipeline = AlertPipeline(self.repository, [], self.clock, lambda: next(ids))
        self.run = self.make(
            self.repository,
            MonitorsConfig.model_validate(options),
            ROUTES,
            lambda _, changes: pipeline.handle(changes),
        )

    def write(
        self, rows: int, *, at: int | None = None, signals: Signals | None = None, **facts: Any
    ) -> None:
        """Write so many records that started at a time, or within the last minute."""
        first = self.clock.us - MINUTE_US if at is None else at
        ends: list[End] = []
        for number in (next(self._numbers) for _ in range(rows)):
            ends.append(end_of(number, text=False, **{"started_at": first + len(ends), **facts}))
        told = signals_of(ends)
        if signals is not None:
            told = [_of(signals, end) for end in ends]
        with self.database.cursor() as connection:
            batch = Batch(ends, told, (), (), ())
            write_batch(connection, batch, now_us=self.clock.us)

    def look(self, *, minutes: int = 0) -> dict[tuple[str, str], Verdict]:
        """Look once, after some minutes; return the verdicts by route and feature."""
        self.clock.us += minutes * MINUTE_US
        return {(v.route, v.feature): v for v in self.run.run_once(self.clock.us)}

    @property
    def open_alerts(self) -> list[tuple[str, str, str, str]]:
        """Return what is open."""
        alerts = self.repository.open_alerts()
        return [(a.kind, a.route, a.subject, a.severity) for a in alerts]


def _of(signals: Signals, end: End) -> Signals:
    return msgspec.structs.replace(signals, id=end.prediction.id)
