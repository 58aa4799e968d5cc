"""False episodes and delays of the monitor itself: both gates, as `MonitorRun` runs them.

    PYTHONPATH=. .venv/bin/python benchmarks/drift_monitor.py [--calm N] [--runs N]

A route with eleven features and two variants (80 and 20 % of the rows), 100 rows a look, a
reference of 5,000 rows, every setting at its default but the budget: of 20 false alarms a month, so
that there are some to count. Only the log is simulated: it answers from arrays what the prediction
log answers from its tables. Prints Markdown.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
from drift_simulation import upper
from drift_streams import INDEPENDENT, MISSING, NORMAL, SHIFTS, THREE, Rows, Shift, Stream
from tables import table

from monitors.baselines import read_references
from monitors.options import Monitors
from monitors.references.rows import ColumnRows, Groups, Members
from monitors.references.stored import Plan, stored_form
from monitors.schedule import MonitorRun
from monitors.signals.table import SIGNALS, SIGNALS_BY_NAME
from monitors.windows import SECOND_US
from storage.log import CountRow
from storage.log_reader import LogReader
from storage.new_rows import NewRows
from storage.new_rows import Rows as ReadRows
from storage.records import Baseline, Verdict

ROUTE = "chat"
EVERY_US = 300 * SECOND_US
MONTH, DAY = 8_640, 288
REFERENCE, ROWS = 5_000, 100
VARIANTS = ("a", "b")
MINOR = 0.2
"""Share of variant `b`."""
BEGIN_US = 20_000 * 86_400 * SECOND_US
LEAD = 24
"""Looks without drift before a shift."""
MOST_LOOKS = 400

FEATURES: Mapping[str, Stream] = {
    "prompt_tokens": NORMAL,
    "response_tokens": INDEPENDENT[1],
    "prompt_chars": INDEPENDENT[2],
    "response_chars": INDEPENDENT[3],
    "latency_s": NORMAL,
    "ttft_s": MISSING,
    "time_per_output_token_s": NORMAL,
    "finish_reason": THREE,
    "language": INDEPENDENT[5],
    "refusal": THREE,
    "error": THREE,
}
SHIFTED = {NORMAL.name: "latency_s", THREE.name: "finish_reason", MISSING.name: "ttft_s"}


class Traffic(NamedTuple):
    """Rows of a route, in order of time and evenly spaced."""

    columns: Mapping[str, Any]
    variants: Rows


def drawn(generator: np.random.Generator, looks: int, shift: Shift | None = None) -> Traffic:
    """Draw traffic; of `looks` those behind the first `LEAD` are shifted, if anything is."""
    variants = (generator.random(looks * ROWS) < MINOR).astype(np.float64)
    columns: dict[str, Any] = {}
    for name, stream in FEATURES.items():
        rows = stream.draw(generator, looks, ROWS)
        if shift is not None and SHIFTED[shift.stream.name] == name:
            rows[LEAD:] = shift.change(generator, rows[LEAD:])
        columns[name] = rows.ravel()
    return Traffic(columns, variants)


def _words(name: str, rows: Rows) -> Any:
    if SIGNALS_BY_NAME[name].kind == "numeric":
        return rows
    return [None if math.isnan(row) else f"{row:.0f}" for row in rows.tolist()]


class SimulatedLog:
    """What a look asks of the log, answered from arrays.

    Parameters
    ----------
    baseline : Baseline
        What it holds of baselines.
    """

    def __init__(self, traffic: Traffic, baseline: Baseline) -> None:
        self.now = 0
        self._columns = {name: _words(name, rows) for name, rows in traffic.columns.items()}
        self._variants = traffic.variants
        self._baseline = baseline
        self._references = read_references(baseline)
        self.connection = _NoTables()

    def _span(self, window_from: int, window_to: int) -> slice:
        places = (
            min(max(0, -(-(at - BEGIN_US) * ROWS // EVERY_US)), self.now * ROWS)
            for at in (window_from, window_to)
        )
        return slice(*places)

    def rows_after(
        self, _route: str, features: Sequence[str], after: int, *, keys: Sequence[str] = ()
    ) -> NewRows:
        """Return the rows of the looks behind one: a batch each."""
        first, last = min(after, self.now) * ROWS, self.now * ROWS
        rows = np.arange(first, last, dtype=np.int64)
        named = [VARIANTS[int(one)] for one in self._variants[first:last].tolist()]
        requests = ReadRows(
            BEGIN_US + rows * EVERY_US // ROWS,
            {name: self._columns[name][first:last] for name in features},
            {key: cast("list[str | None]", named) for key in keys},
        )
        return NewRows(self.now, False, requests, ReadRows(rows[:0], {}, {}))

    def coverage(self, window: Any, **_: bool) -> Any:
        """Return that everything is there."""
        return _Coverage(window)

    def counts(self, scope: Any) -> list[CountRow]:
        """Return requests; as few as are read, so that windows are compared by their rows."""
        span = self._span(*scope.window)
        if span.start >= span.stop:
            return []
        nothing = dict.fromkeys(CountRow._fields, 0)
        said = {"route": ROUTE, "role": "primary", "n": 1, "first_at": scope.window.from_us}
        return [CountRow(**cast("dict[str, Any]", nothing | said))]

    def feature_columns(
        self, _route: str, features: Sequence[str], window_from: int, window_to: int
    ) -> dict[str, Any]:
        """Return the rows of a window."""
        span = self._span(window_from, window_to)
        return {name: self._columns[name][span] for name in features if name in self._columns}

    def cells(self, scope: Any, _baseline: str, *, segment: str) -> dict[str, dict[int, int]]:
        """Count a variant's rows over the baseline's cells."""
        span = self._span(*scope.window)
        chosen = np.flatnonzero(self._variants[span] == (segment == "variant=b"))
        found = {}
        for name, column in self._columns.items():
            rows = column[span]
            own = rows[chosen] if isinstance(rows, np.ndarray) else [rows[i] for i in chosen]
            counts = self._references[name].cells.count(own)
            found[name] = dict(enumerate(counts.tolist()))
        return found

    def ids_in(self, *_: object, **__: int) -> list[str]:
        """Return no examples."""
        return []

    @contextmanager
    def snapshot(self) -> Iterator[LogReader]:
        """Lend itself."""
        yield cast("LogReader", self)

    def baseline_heads(self, _route: str) -> list[Baseline]:
        """Return the only baseline."""
        return [self._baseline]

    def load_baseline(self, *_: object) -> Baseline:
        """Return it whole."""
        return self._baseline

    def add_baseline(self, baseline: Baseline) -> Baseline:
        """Refuse: nothing of this simulation makes one."""
        raise NotImplementedError(baseline.name)

    def drop_baseline(self, *_: object, **__: object) -> int:
        """Drop nothing."""
        return 0

    def latest_verdicts(self, *_: object) -> list[Verdict]:
        """Return none: a run remembers its own."""
        return []

    def save_verdicts(self, _: object) -> None:
        """Forget verdicts."""

    def save_look(self, *_: object) -> None:
        """Forget verdicts and detectors."""

    def load_detectors(self) -> list[Any]:
        """Return none."""
        return []

    def alerts_between(self, *_: object) -> list[Any]:
        """Return none."""
        return []


class _NoTables:
    """A connection to a database without rows: what tells of an opening finds nothing to tell."""

    def execute(self, *_: object) -> "_NoTables":
        """Find nothing."""
        return self

    def fetchall(self) -> list[Any]:
        """Return no rows."""
        return []


class _Coverage(NamedTuple):
    window: Any


def baseline_of(traffic: Traffic, rows: int) -> Baseline:
    """Return what the monitors would keep of some rows."""
    started = BEGIN_US + np.arange(rows, dtype=np.int64) * EVERY_US // ROWS
    bits = np.where(traffic.variants == 0.0, 1, 2).astype(np.int64)
    groups = Groups(started, segments={"variant": Members(VARIANTS, bits)})
    cells: dict[str, object] = {}
    for name, column in traffic.columns.items():
        rows_of = ColumnRows(SIGNALS_BY_NAME[name].kind, _words(name, column), groups)
        cells[name] = stored_form(rows_of, Plan())
    return Baseline(
        name="simulated",
        version=1,
        created_at=BEGIN_US,
        window_from=BEGIN_US,
        window_to=BEGIN_US + 1,
        route=ROUTE,
        rows=rows,
        cells=cells,
    )


def looks_of(
    generator: np.random.Generator, looks: int, shift: Shift | None = None, budget: float = 1.0
) -> Iterator[list[Verdict]]:
    """Look so often at a route, and yield the verdicts of each look."""
    baseline = baseline_of(drawn(generator, REFERENCE // ROWS), REFERENCE)
    log = SimulatedLog(drawn(generator, looks, shift), baseline)
    watched = {s.name: _Off() for s in SIGNALS if s.name not in FEATURES}
    config = Monitors(baseline=None, features=cast("Any", watched), false_alarms_per_30d=budget)
    run = MonitorRun(log, config, [ROUTE], lambda _: None)
    run.run_once(BEGIN_US)  # begins the detectors
    for look in range(1, looks + 1):
        log.now = look
        yield run.run_once(BEGIN_US + look * EVERY_US)


class _Off:
    """A feature that is not watched."""

    enabled = False
    psi = wasserstein_sd = discrete = None


def quiet(job: tuple[int, int, float]) -> tuple[int, int, int, int]:
    """Of looks without drift: episodes, streams that opened, that were latched, looks open."""
    seed, looks, budget = job
    episodes = opened = latched = open_looks = 0
    was_open: set[tuple[str, str]] = set()
    was_latched: set[tuple[str, str]] = set()
    for verdicts in looks_of(np.random.default_rng(seed), looks, budget=budget):
        now_open = {(v.segment, v.feature) for v in verdicts if v.details["open"]}
        now_latched = {(v.segment, v.feature) for v in verdicts if v.details["latched"]}
        episodes += bool(now_open) and not was_open
        opened += len(now_open - was_open)
        latched += len(now_latched - was_latched)
        open_looks += bool(now_open)
        was_open, was_latched = now_open, now_latched
    return episodes, opened, latched, open_looks


def delay(job: tuple[int, int]) -> float:
    """Count looks from a shift of one feature until its episode opens; infinite if never."""
    shift, seed = SHIFTS[job[0]], job[1]
    feature = SHIFTED[shift.stream.name]
    generator = np.random.default_rng(seed)
    for look, verdicts in enumerate(looks_of(generator, LEAD + MOST_LOOKS, shift), start=1):
        found = next(v for v in verdicts if (v.segment, v.feature) == ("", feature))
        if look > LEAD and found.verdict == "drift":
            return float(look - LEAD)
    return math.inf


def calm_table(plan: tuple[int, int, float], found: Sequence[tuple[int, ...]]) -> str:
    """Say what runs without drift gave beside what they were allowed."""
    runs, looks, budget = plan
    episodes, opened, latched, open_looks = (sum(column) for column in zip(*found, strict=True))
    allowed = budget * runs * looks / MONTH
    head = ["looks", "allowed", "episodes", "of the budget", "streams that opened"]
    head += ["evidence latched", "looks with an episode"]
    share = f"{episodes / allowed:.2f} (at most {upper(episodes) / allowed:.2f})"
    row = [f"{runs * looks:,}", f"{allowed:g}", str(episodes), share, str(opened), str(latched)]
    return table(head, [[*row, f"{open_looks / (runs * looks):.2%}"]])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--calm", type=int, default=6, help="runs without drift")
    parser.add_argument("--looks", type=int, default=MONTH, help="looks of such a run")
    parser.add_argument("--budget", type=float, default=20.0, help="false alarms per 30 days")
    parser.add_argument("--runs", type=int, default=15, help="runs of each shift")
    given = parser.parse_args()
    with ProcessPoolExecutor(max_workers=2) as pool:
        jobs = [(seed, given.looks, given.budget) for seed in range(given.calm)]
        calm = list(pool.map(quiet, jobs))
        if calm:
            told = calm_table((given.calm, given.looks, given.budget), calm)
            print(
                f"\nWithout drift, {given.budget:g} false alarms per 30 days\n\n{told}", flush=True
            )
        rows = []
        for number, shift in enumerate(SHIFTS if given.runs else ()):
            waits = list(pool.map(delay, [(number, 500 + i) for i in range(given.runs)]))
            rows.append([shift.name, *(_looks(wait) for wait in (np.median(waits), max(waits)))])
        if rows:
            told = table(["shift", "median", "longest"], rows)
            print(
                f"\nLooks until an episode opens, {given.runs} runs, budget 1\n\n{told}", flush=True
            )


def _looks(wait: float) -> str:
    return "never" if math.isinf(wait) else f"{wait:g}"


if __name__ == "__main__":
    main()
