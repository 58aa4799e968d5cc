"""False alarms and delays of drift monitors on the same simulated streams.

    PYTHONPATH=. .venv/bin/python benchmarks/drift_simulation.py [--short] [--json FILE]

A look is five minutes: 8,640 of them are a month. Prints Markdown.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from drift_rules import RULES, Rule, episodes, measured
from drift_streams import (
    AUTOREGRESSIVE,
    CYCLE,
    HOURS_A_WEEK,
    INDEPENDENT,
    LOOKS_AN_HOUR,
    NORMAL,
    SHIFTS,
    THREE,
    USERS,
    Prepared,
    Rows,
    Stream,
    hour_of,
    prepare,
    spread_of,
)
from tables import table

from stats.arrays import CountArray
from stats.detector import DetectorState, begin, look

MONTH = 8_640
DAY = 288
FEATURES = 25
LEVEL = float(FEATURES * MONTH)
"""One false alarm a month over 25 features."""
LOOSE = 1_000.0
"""Level at which false alarms are counted, so that there are enough of them."""
FINE = 256
REFERENCE, ROWS = 5_000, 100
MOST_LOOKS = 1_500
NUMBERS = (NORMAL, *INDEPENDENT[1:4], INDEPENDENT[8])
CATEGORIES = INDEPENDENT[4:7]


class Plan(NamedTuple):
    """How much is simulated: months of looks a cell, months to calibrate on, runs a delay."""

    looks: int
    months: int
    runs: int


QUICK = Plan(looks=4_000, months=8, runs=9)
USUAL = Plan(looks=20_000, months=25, runs=31)
SHORT = Plan(looks=8_000, months=13, runs=15)
FULL = Plan(looks=100_000, months=200, runs=101)


class Calm(NamedTuple):
    """A cell of the table of false alarms."""

    stream: Stream
    reference: int
    rows: int
    how: str = "as it is"


def alarms_of(
    state: DetectorState, counts: CountArray, level: float, hours: CountArray | None = None
) -> list[int]:
    """Return the looks at which a detector alarms; it goes on after each."""
    found = []
    for at, row in enumerate(counts):
        seen = look(
            state, row, alarm_at=level, at=at, hour=None if hours is None else int(hours[at])
        )
        state = seen.state
        if seen.alarm:
            found.append(at)
    return found


def begun(
    prepared: Prepared, reference: Rows, how: str = "as it is", rows: int = ROWS
) -> DetectorState:
    """Begin a detector as the monitors do."""
    order = np.arange(reference.size, dtype=np.int64)
    if how == "hour pools":
        looks = reference.reshape(-1, rows)
        each, hour = prepared.tally(looks), hour_of(looks.shape[0])
        hours = np.zeros((HOURS_A_WEEK, each.shape[1]), dtype=np.int64)
        np.add.at(hours, hour, each)
        spread = spread_of(prepared, reference, order // rows, np.repeat(hour, rows))
        return begin(prepared.cells, prepared.counts, dispersion=spread, hours=hours)
    blocks = {"by look": order // rows, "by key": order // 10}
    spread = spread_of(prepared, reference, blocks[how], None) if how in blocks else 1.0
    return begin(prepared.cells, prepared.counts, singles=prepared.singles, dispersion=spread)


def false_alarms(job: tuple[int, int, int]) -> tuple[int, int]:
    """Alarms at the loose level, and looks: several references, 2,000 looks after each."""
    number, looks, seed = job
    stream, m, rows, how = calm_cells()[number]
    generator = np.random.default_rng(seed)
    run = 2_016
    alarms = 0
    for _ in range(math.ceil(looks / run)):
        whole = stream.draw(generator, m // rows + run, rows) if m >= rows else None
        if whole is None:
            reference, now = stream.draw(generator, 1, m).ravel(), stream.draw(generator, run, rows)
        else:
            reference, now = whole[: m // rows].ravel(), whole[m // rows :]
        prepared = prepare(stream, reference)
        hours = hour_of(m // rows + run)[m // rows :] if how == "hour pools" else None
        state = begun(prepared, reference, how, rows)
        alarms += len(alarms_of(state, prepared.tally(now), LOOSE, hours))
    return alarms, math.ceil(looks / run) * run


def upper(events: int) -> float:
    """Upper end of the 95 % interval of a Poisson mean (Wilson and Hilferty's approximation)."""
    k = events + 1.0
    return float(k * (1.0 - 1.0 / (9.0 * k) + 1.96 / (3.0 * math.sqrt(k))) ** 3)


def calm_cells() -> list[Calm]:
    """Every stream, several sizes of reference and look, and dependence."""
    cells = [Calm(stream, REFERENCE, ROWS) for stream in INDEPENDENT]
    some = (NORMAL, THREE, INDEPENDENT[6])
    cells += [Calm(stream, m, ROWS) for stream in some for m in (500, 100_000)]
    cells += [Calm(stream, REFERENCE, n) for stream in some for n in (20, 1_000, 5_000)]
    cells += [Calm(NORMAL, 500, 20), Calm(INDEPENDENT[6], 500, 20), Calm(NORMAL, 500, 5_000)]
    for m in (REFERENCE, 50_000):
        cells += [Calm(USERS, m, ROWS, how) for how in ("as it is", "by look", "by key")]
        cells += [Calm(AUTOREGRESSIVE, m, ROWS, how) for how in ("as it is", "by look")]
    week = HOURS_A_WEEK * LOOKS_AN_HOUR * ROWS
    return cells + [Calm(CYCLE, week, ROWS, how) for how in ("as it is", "by look", "hour pools")]


def quiet_months(job: tuple[int, int]) -> dict[str, tuple[int, float, float]]:
    """Of every rule over a month without drift: episodes, share of looks, largest number."""
    stream, seed = INDEPENDENT[job[0]], job[1]
    generator = np.random.default_rng(seed)
    reference = stream.draw(generator, 1, REFERENCE).ravel()
    looks = stream.draw(generator, LOOKS_AN_HOUR + MONTH, ROWS)
    prepared = prepare(stream, reference, bins=FINE)
    found = {}
    for rule in _rules(stream):
        number = measured(rule, prepared, reference, looks)[LOOKS_AN_HOUR:]
        alarms = number >= rule.level
        found[rule.name] = episodes(alarms), float(alarms.mean()), float(number.max())
    return found


def _rules(stream: Stream) -> list[Rule]:
    return [rule for rule in RULES if not (stream.categories and rule.numbers_only)]


def delays(job: tuple[int, dict[str, float], int, int]) -> dict[str, float]:
    """Count looks until each rule alarms after a shift; infinite if it never does.

    `warm` looks without drift come first. An alarm before the shift is a false one: the detector
    goes on after it. Rolling windows hold an hour before the shift at least.
    """
    number, levels, warm, seed = job
    shift = SHIFTS[number]
    generator = np.random.default_rng(seed)
    reference = shift.stream.draw(generator, 1, REFERENCE).ravel()
    lead = max(warm, LOOKS_AN_HOUR)
    looks = shift.stream.draw(generator, lead + MOST_LOOKS, ROWS)
    looks[lead:] = shift.change(generator, looks[lead:])
    prepared = prepare(shift.stream, reference)
    state = begun(prepared, reference)
    counts = prepared.tally(looks[lead - warm :])
    found: dict[str, float] = {"driftgate": math.inf}
    for at, row in enumerate(counts):
        seen = look(state, row, alarm_at=LEVEL, at=at)
        state = seen.state
        if seen.alarm and at >= warm:
            found["driftgate"] = at - warm + 1
            break
    fine = prepare(shift.stream, reference, bins=FINE)
    for rule in _rules(shift.stream):
        measure = measured(rule, fine, reference, looks)[lead:]
        for name, level in ((rule.name, rule.level), (f"{rule.name} *", levels.get(rule.name))):
            if level is not None:
                hits = np.flatnonzero(measure >= level)
                found[name] = float(hits[0] + 1) if hits.size else math.inf
    return found


def speed() -> dict[str, float]:
    """CPU milliseconds of a look at 25 features of 1,000 rows, counting included."""
    generator = np.random.default_rng(1)
    features = []
    for _ in range(FEATURES):
        reference = generator.normal(size=REFERENCE)
        prepared = prepare(NORMAL, reference)
        features.append((prepared, begun(prepared, reference), generator.normal(size=(1, 1_000))))
    took = []
    for _ in range(30):
        start = time.process_time()
        for prepared, state, rows in features:
            look(state, prepared.cells.count(rows[0]), alarm_at=LEVEL, at=0)
        took.append(1e3 * (time.process_time() - start))
    return {"median_ms": float(np.median(took)), "least_ms": min(took)}


def _number(value: float) -> str:
    return "never" if value > MOST_LOOKS else f"{value:g}"


def _calm_table(found: Sequence[tuple[Calm, int, int]]) -> str:
    rows = []
    for cell, alarms, looks in found:
        budget = looks / LOOSE
        name = cell.stream.name if cell.how == "as it is" else f"{cell.stream.name}, {cell.how}"
        share = f"{alarms / budget:.2f} (at most {upper(alarms) / budget:.2f})"
        rows.append(
            [name, f"{cell.reference:,}", f"{cell.rows:,}", f"{looks:,}", str(alarms), share]
        )
    head = ["stream", "reference", "rows a look", "looks", "alarms", "of the budget (95 %)"]
    return table(head, rows)


def _month_table(quiet: dict[str, list[dict[str, tuple[int, float, float]]]]) -> str:
    rows = []
    for rule in RULES:
        row = [rule.name]
        for months in quiet.values():
            known = [month[rule.name] for month in months if rule.name in month]
            share = np.mean([part for _, part, _ in known]) if known else 0.0
            mean = np.mean([count for count, _, _ in known]) if known else 0.0
            row.append(f"{mean:.2f} ({100 * share:.2g} %)" if known else "-")
        rows.append(row)
    return table(["rule", *(f"{name}" for name in quiet)], rows)


def _delay_table(found: dict[str, dict[str, float]], allowed: Callable[[str, str], bool]) -> str:
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    lines = [
        [name, *(_number(row[name]) if name in row else "-" for row in found.values())]
        for name in names
        if any(allowed(shift, name) for shift in found)
    ]
    best = ["best of the others"]
    for shift, row in found.items():
        others = [v for name, v in row.items() if name != "driftgate" and allowed(shift, name)]
        best.append(_number(min(others, default=math.inf)))
    return table(["rule", *found], [*lines, best])


def levels_of(months: Sequence[dict[str, tuple[int, float, float]]]) -> dict[str, float]:
    """Level of every rule that one month in 25 reaches."""
    names = [name for name in months[0] if name not in ("never", "always", "ADWIN of means, 0.002")]
    return {
        name: float(np.quantile([month[name][2] for month in months], 1.0 - 1.0 / FEATURES))
        for name in names
    }


def _worst(
    quiet: dict[str, list[dict[str, tuple[int, float, float]]]], group: Sequence[Stream]
) -> dict[str, float]:
    """Level of every rule that keeps the budget on all streams of a kind."""
    found = [levels_of(quiet[stream.name]) for stream in group]
    return {name: max(level[name] for level in found) for name in found[0]}


def simulate(plan: Plan, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Run everything; prints tables as they come."""
    cells = calm_cells()
    counted = list(pool.map(false_alarms, [(i, plan.looks, 100 + i) for i in range(len(cells))]))
    calm = [(cell, *found) for cell, found in zip(cells, counted, strict=True)]
    print(
        f"\nFalse alarms of the detector at a level of {LOOSE:g} looks\n\n{_calm_table(calm)}",
        flush=True,
    )
    quiet = {
        stream.name: list(
            pool.map(
                quiet_months, [(INDEPENDENT.index(stream), 7_000 + i) for i in range(plan.months)]
            )
        )
        for stream in (*NUMBERS, *CATEGORIES)
    }
    print(
        f"\nEpisodes a feature-month (share of looks) of rules\n\n{_month_table(quiet)}", flush=True
    )
    levels = {bool(group[0].categories): _worst(quiet, group) for group in (NUMBERS, CATEGORIES)}

    def allowed(shift: str, name: str) -> bool:
        if name == "driftgate" or name.endswith("*"):
            return True
        ranked = not next(s.stream.categories for s in SHIFTS if s.name == shift)
        months = [quiet[stream.name] for stream in (NUMBERS if ranked else CATEGORIES)]
        rates = [np.mean([m[name][0] for m in every]) for every in months if name in every[0]]
        return bool(rates) and name != "always" and bool(max(rates) <= 1 / FEATURES)

    waited: dict[str, dict[str, dict[str, float]]] = {}
    for warm in (0, DAY):
        rows = {}
        for number, shift in enumerate(SHIFTS):
            level = levels[bool(shift.stream.categories)]
            jobs = [(number, level, warm, 9_000 + i) for i in range(plan.runs)]
            runs = list(pool.map(delays, jobs))
            rows[shift.name] = {name: float(np.median([r[name] for r in runs])) for name in runs[0]}
        waited[str(warm)] = rows
        title = f"Median looks to an alarm, {warm} looks without drift before (* calibrated)"
        print(f"\n{title}\n\n{_delay_table(rows, allowed)}", flush=True)
    took = speed()
    print(f"\nA look at 25 features of 1,000 rows: {took['median_ms']:.1f} CPU ms")
    plain = [[c.stream.name, c.reference, c.rows, c.how, a, n] for c, a, n in calm]
    return {"false_alarms": plain, "levels": list(levels.values()), "delays": waited, "speed": took}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute or two")
    size.add_argument("--short", action="store_true", help="some minutes")
    size.add_argument("--full", action="store_true", help="some hours")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    plan = QUICK if given.quick else SHORT if given.short else FULL if given.full else USUAL
    with ProcessPoolExecutor(max_workers=2) as pool:
        found = simulate(plan, pool)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
