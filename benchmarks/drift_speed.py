"""What comparing two Parquet files costs: driftgate's statistics beside Evidently's report.

`python benchmarks/drift_speed.py [--rows N ...] [--without-evidently]`. Twenty numeric and five
categorical columns, the second file a little shifted; each contender reads the same two files in
a fresh process, whose CPU time and peak memory are the table. Ours computes PSI, KS with its p,
Wasserstein-1 in sd, Jensen-Shannon, chi-square, new categories and missing rows, with intervals;
Evidently runs its `DataDriftPreset`. It comes from `install_peers.py evidently`.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from peers import CACHE

from stats.arrays import FloatArray
from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.chi2 import chi2_homogeneity, new_rate
from stats.divergence import js_distance
from stats.ecdf import Ecdf
from stats.ks import ks_of
from stats.ks_p import ks_p_value
from stats.line import measure
from stats.missing import rate_change
from stats.psi import psi
from stats.wasserstein import wasserstein_of

NUMBERS = tuple(f"n{k}" for k in range(20))
CATEGORIES = {"c0": 3, "c1": 10, "c2": 50, "c3": 200, "c4": 1000}
FILES = ("reference", "current")
FOLDER = CACHE / "drift_speed"
NOTHING = "nothing"
OURS = "driftgate"
EVIDENTLY = "evidently"
LIMIT_S = 900

PEER = """
import json, resource, sys
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
result = Report([DataDriftPreset()]).run(current, reference).dict()
used = resource.getrusage(resource.RUSAGE_SELF)
peak_kb = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
columns = sum("column" in metric.get("metric_id", "") for metric in result["metrics"])
print(json.dumps([used.ru_utime + used.ru_stime, peak_kb, columns]))
"""


def draw(name: str, shift: float) -> str:
    """Return the SQL of a column: five shapes of numbers, and categories that fall off."""
    if name in CATEGORIES:
        return f"'v' || cast(floor({CATEGORIES[name]} * random() ** (2.0 + {shift})) as int)"
    normal = f"(sqrt(-2.0 * ln(1.0 - random())) * cos(2.0 * pi() * random()) + {shift})"
    return {
        0: normal,
        1: f"exp({normal})",
        2: f"floor(20.0 + 4.0 * {normal})",
        3: f"if(random() < 0.6, 0.0, abs({normal}))",
        4: f"if(random() < 0.05, NULL, {normal})",
    }[int(name[1:]) % 5]


def write(rows: int) -> tuple[Path, Path]:
    """Write both files once, and return where they are."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = FOLDER / f"reference-{rows}.parquet", FOLDER / f"current-{rows}.parquet"
    for path, shift in zip(paths, (0.0, 0.05), strict=True):
        if path.exists():
            continue
        columns = ", ".join(f"{draw(name, shift)} AS {name}" for name in (*NUMBERS, *CATEGORIES))
        with duckdb.connect() as connection:
            connection.execute("SET memory_limit = '1GB'")
            connection.sql("SELECT setseed($seed)", params={"seed": 0.5 + shift}).fetchall()
            rows_of = connection.sql("SELECT * FROM range($rows)", params={"rows": rows})
            rows_of.project(columns).write_parquet(str(path))
    return paths


def compare(paths: list[str]) -> dict[str, dict[str, float]]:
    """Compare the files column by column."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1; SET memory_limit = '256MB'")
        found = {name: _numbers(connection, paths, name) for name in NUMBERS}
        return found | {name: _categories(connection, paths, name) for name in CATEGORIES}


def _numbers(
    connection: duckdb.DuckDBPyConnection, paths: list[str], name: str
) -> dict[str, float]:
    before, now = (_read(connection, path, name) for path in paths)
    cells = NumericCells.from_reference(before[0])
    counts = cells.count_sample(before[0], missing=before[1])
    counts_now = cells.count_sample(now[0], missing=now[1])
    m, n = before[0].n, now[0].n
    line = measure(before[0], now[0])
    d = ks_of(line, m, n)
    return {
        "psi": psi(counts, counts_now).value,
        "js": js_distance(counts, counts_now).value,
        "ks": d.value,
        "ks_p": ks_p_value(d.value, m, n),
        "wasserstein_sd": wasserstein_of(line, before[0], n, "sd").value,
        "missing": rate_change(before[1], m + before[1], now[1], n + now[1]).value,
    }


def _read(connection: duckdb.DuckDBPyConnection, path: str, name: str) -> tuple[Ecdf, int]:
    """Return a column's known rows, sorted, and how many are missing."""
    column = connection.read_parquet(path).project(name).fetchnumpy()[name]
    known: FloatArray = np.ma.compressed(column).astype(np.float64, copy=False)
    return Ecdf.of(known), column.size - known.size


def _categories(
    connection: duckdb.DuckDBPyConnection, paths: list[str], name: str
) -> dict[str, float]:
    before, now = (
        dict(connection.read_parquet(path).aggregate(f"{name}, count(*)", name).fetchall())
        for path in paths
    )
    cells = CategoryCells.from_reference(before)
    counts, counts_now = cells.count(before), cells.count(now)
    known = np.arange(cells.size) != cells.new
    n, m = int(counts_now.sum()), int(counts.sum())
    missing = int(counts[cells.missing]), int(counts_now[cells.missing])
    return {
        "psi": psi(counts, counts_now).value,
        "js": js_distance(counts, counts_now).value,
        "chi2_p": chi2_homogeneity(counts[known], counts_now[known]).p_value,
        "new": new_rate(int(counts_now[cells.new]), n, m).value,
        "missing": rate_change(missing[0], m, missing[1], n).value,
    }


def run(contender: str, paths: tuple[Path, Path]) -> tuple[float, float, int] | str:
    """Return CPU seconds, peak MB and columns compared in a fresh process, or why not."""
    files = [str(path) for path in paths]
    command = [sys.executable, __file__, "--only", contender, *files]
    if contender == EVIDENTLY:
        command = [str(CACHE / EVIDENTLY / "bin/python"), "-W", "ignore", "-c", PEER, *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except FileNotFoundError:
        return f"not installed: python benchmarks/install_peers.py {contender}"
    except subprocess.TimeoutExpired:
        return f"longer than {LIMIT_S} s"
    except subprocess.CalledProcessError as error:
        return f"failed: {error.stderr.strip().splitlines()[-1:] or error.returncode}"
    cpu_s, peak_kb, columns = json.loads(done.stdout.splitlines()[-1])
    return cpu_s, peak_kb / 1024.0, columns


def report_one(contender: str, paths: list[str]) -> None:
    """Be the fresh process: print what it used."""
    found: dict[str, Any] = compare(paths) if contender == OURS else {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not `ru_maxrss`, which still knows the process that this one was forked from.
    peak_kb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(json.dumps([used.ru_utime + used.ru_stime, peak_kb, len(found)]))


def main() -> None:
    """Print the table, or be one of its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--without-evidently", action="store_true")
    parser.add_argument("--only", choices=[NOTHING, OURS])
    parser.add_argument("paths", nargs="*")
    given = parser.parse_args()
    if given.only:
        report_one(given.only, given.paths)
        return
    print("| Rows a file | Contender | CPU s | Peak MB | Columns |\n|---|---|---|---|---|")
    contenders = [NOTHING, OURS] + ([] if given.without_evidently else [EVIDENTLY])
    for rows in given.rows:
        paths = write(rows)
        for contender in contenders:
            found = run(contender, paths)
            if isinstance(found, str):
                print(f"| {rows:,} | {contender} | {found} | | |")
            else:
                cpu_s, peak_mb, columns = found
                print(f"| {rows:,} | {contender} | {cpu_s:.2f} | {peak_mb:.0f} | {columns} |")


if __name__ == "__main__":
    main()
