"""The prediction log measured: what it costs a request, what it writes, how fast it is read.

Sections: `path` (CPU of the spool on the request path), `writing` (the writer and the archivers,
beside other ways to fill the same table), `sizes` (bytes a record), `reads` (every read of the
command line over a week of ten million predictions), `beside` (99th percentile of requests beside
the log's work) and `durability`. `reads` and `beside` share one generated data directory.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from storage_beside import beside, durability
from storage_cost import request_path, writing
from storage_fill import fill
from storage_reads import reads
from storage_sizes import sizes
from tables import conditions

SECTIONS = ("path", "writing", "sizes", "reads", "beside", "durability")


class Week:
    """The generated data directory, made when it is first asked for."""

    def __init__(self, stack: ExitStack, data: Path | None, rows: int) -> None:
        self._stack = stack
        self._data = data
        self._rows = rows

    def directory(self) -> Path:
        """Return where it is."""
        if self._data is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            self._data = Path(folder) / "week"
        if not self._data.exists():
            steps = ", ".join(f"{step} {s:.0f} s" for step, s in fill(self._data, self._rows))
            size = sum(path.stat().st_size for path in self._data.rglob("*") if path.is_file())
            print(f"{self._rows:,} predictions made ({steps}), {size / 2**20:,.0f} MiB\n")
        return self._data


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=20_000, help="of path, writing and sizes")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of reads and beside")
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="a window of beside and durability"
    )
    parser.add_argument("--backlog", type=int, default=150_000, help="records to ingest in beside")
    parser.add_argument("--data", type=Path, help="a week made before; made here if absent")
    options = parser.parse_args()
    print(conditions())
    with ExitStack() as stack:
        week = Week(stack, options.data, options.rows)
        rounds, seconds = options.rounds, options.seconds
        sections: dict[str, Callable[[], str]] = {
            "path": lambda: request_path(rounds, options.records),
            "writing": lambda: writing(rounds, options.records),
            "sizes": lambda: sizes(options.records),
            "reads": lambda: reads(rounds, week.directory()),
            "beside": lambda: beside(
                rounds, week.directory(), seconds=seconds, backlog=options.backlog
            ),
            "durability": lambda: durability(rounds, seconds=seconds),
        }
        for name in options.only or SECTIONS:
            print(f"\n{sections[name]()}", flush=True)


if __name__ == "__main__":
    main()
