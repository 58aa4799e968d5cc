"""What a baseline of few looks knows of the dependence between its rows, and what that costs.

A baseline holds fewer than twenty looks; 150 looks of the same law follow it. Told are the runs in
which the detector alarms, with the dispersion that the baseline measures and, in brackets, with
rows taken for independent; and of one burst the looks until a shift is seen.

    python benchmarks/drift_few_looks.py [--runs 25]
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
from drift_simulation import alarms_of
from drift_streams import Prepared, Rows, Stream, prepare
from tables import table

from stats.cells import NumericCells
from stats.detector import begin
from stats.few_blocks import dispersion_in_time

LOOKS = 150
LEVEL = 100_000.0
"""As of a budget of one false alarm in 30 days over about a dozen features."""
SHAPES = ((1, 1_000), (2, 500), (3, 400), (6, 50), (12, 83), (19, 100))
SHIFT_SD = 0.5
_LOOK_US = 300_000_000

Draw = Callable[[np.random.Generator, int, int], Rows]


def shared(correlation: float) -> Draw:
    """Return looks whose rows have a part of their value in common."""

    def draw(generator: np.random.Generator, looks: int, rows: int) -> Rows:
        common = generator.normal(size=(looks, 1))
        own = generator.normal(size=(looks, rows))
        return np.asarray(math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own)

    return draw


def fading(power: float) -> Draw:
    """Return an autoregression of order one, over all looks."""

    def draw(generator: np.random.Generator, looks: int, rows: int) -> Rows:
        values = generator.normal(size=looks * rows)
        for row in range(1, values.size):
            values[row] = power * values[row - 1] + math.sqrt(1.0 - power**2) * values[row]
        return values.reshape(looks, rows)

    return draw


LAWS: dict[str, Draw] = {
    "independent": shared(0.0),
    "looks .05": shared(0.05),
    "looks .2": shared(0.2),
    "looks .7": shared(0.7),
    "AR .5": fading(0.5),
}


def spread(prepared: Prepared, reference: Rows) -> float:
    """Return the dispersion as a logged baseline would keep it."""
    looks, rows = reference.shape
    at = np.arange(looks * rows, dtype=np.int64) * _LOOK_US // rows
    cells = prepared.cells
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    placed = prepared.place(reference.ravel())
    return dispersion_in_time(placed, at, _LOOK_US, size=cells.size, ordered=ordered)


def first_alarm(prepared: Prepared, dispersion: float, now: Rows) -> int | None:
    """Return the look of the first alarm; None is none."""
    state = begin(prepared.cells, prepared.counts, dispersion=dispersion)
    found = alarms_of(state, prepared.tally(now), LEVEL)
    return found[0] if found else None


def run(law: str, looks: int, rows: int, seed: int) -> tuple[float, bool, bool, float]:
    """Return dispersion; whether it alarms with it, and without; looks to a shift of all rows."""
    generator = np.random.default_rng(seed)
    drawn = LAWS[law](generator, looks + LOOKS, rows)
    reference, now = drawn[:looks], drawn[looks:]
    prepared = prepare(Stream(law, LAWS[law]), reference.ravel())
    known = spread(prepared, reference)
    seen = first_alarm(prepared, known, now + SHIFT_SD)
    return (
        known,
        first_alarm(prepared, known, now) is not None,
        first_alarm(prepared, 1.0, now) is not None,
        math.inf if seen is None else float(seen + 1),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=25)
    runs = parser.parse_args().runs
    lines = []
    for looks, rows in SHAPES:
        line = [f"{looks} x {rows}"]
        for law in LAWS:
            found = [run(law, looks, rows, seed) for seed in range(runs)]
            spreads, alarms, without, delays = (np.array(one) for one in zip(*found, strict=True))
            delay = np.median(delays)
            told = f"{delay:.0f}" if math.isfinite(delay) else f"> {LOOKS}"
            line.append(
                f"{alarms.sum()} ({without.sum()}), {np.median(spreads):.1f}"
                f" (to {np.max(spreads):.0f}), {told}"
            )
        lines.append(line)
    print(f"{runs} runs: alarms in {LOOKS} looks (rows taken for independent), dispersion")
    print(f"(largest), looks to a shift of {SHIFT_SD} sd.\n")
    print(table(["baseline", *LAWS], lines))


if __name__ == "__main__":
    main()
