"""One look of the monitor at every route of a data directory nobody serves; saves nothing.

`python benchmarks/storage_look.py DIRECTORY HOURS`: what the control plane does at every interval,
in a process of its own.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from storage_fill import ROUTES

from monitors.options import DEFAULTS
from monitors.schedule import MonitorRun
from router.clock import SystemClock
from storage.database import Database
from storage.log_reader import LogReader
from storage.monitor_records import Detector
from storage.records import Alert, Baseline, Verdict
from storage.repository import Repository


class Unsaved:
    """A log that is read and never written."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def snapshot(self) -> AbstractContextManager[LogReader]:
        """Lend reads of one moment."""
        return self._repository.snapshot()

    def load_baselines(self, route: str) -> Sequence[Baseline]:
        """Return the baselines of a route."""
        return self._repository.load_baselines(route)

    def save_baseline(self, _baseline: Baseline) -> None:
        """Keep nothing."""

    def latest_verdicts(self, route: str | None, monitor: str) -> Sequence[Verdict]:
        """Return the verdicts before."""
        return self._repository.latest_verdicts(route, monitor)

    def save_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Keep nothing."""


def main() -> None:
    """Look once; say what was found."""
    directory, hours = Path(sys.argv[1]), float(sys.argv[2])
    database = Database.open_read_only(directory)
    options = replace(DEFAULTS, window=hours * 3600)
    run = MonitorRun(Unsaved(Repository(database)), options, ROUTES, lambda _: None)
    print(f"{len(run.run_once(SystemClock().now_us()))} verdicts, {run.statistics().waiting}")
    database.close()


if __name__ == "__main__":
    main()
