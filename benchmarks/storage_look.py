"""One look of the monitor at every route of a data directory nobody serves; saves nothing.

`python benchmarks/storage_look.py DIRECTORY HOURS`: what the control plane does at every interval,
in a process of its own.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from storage_fill import ROUTES

from monitors.options import DEFAULTS
from monitors.schedule import MonitorRun
from router.clock import SystemClock
from storage.database import Database
from storage.monitor_records import Detector
from storage.records import Verdict
from storage.repository import Repository


class Unsaved(Repository):
    """A log that is read and never written."""

    def save_verdicts(self, _verdicts: Sequence[Verdict]) -> None:
        """Keep nothing."""

    def save_look(self, _verdicts: Sequence[Verdict], _detectors: Sequence[Detector]) -> None:
        """Keep nothing."""


def main() -> None:
    """Look once; say what was found."""
    directory, hours = Path(sys.argv[1]), float(sys.argv[2])
    database = Database.open_read_only(directory)
    options = replace(DEFAULTS, window=hours * 3600)
    run = MonitorRun(Unsaved(database), options, ROUTES, lambda _: None)
    print(f"{len(run.run_once(SystemClock().now_us()))} verdicts, {run.statistics().waiting}")
    database.close()


if __name__ == "__main__":
    main()
