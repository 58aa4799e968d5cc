"""What comparing two Parquet files costs: driftgate's statistics beside Evidently's report.

`python benchmarks/drift_speed.py [--rows N ...] [--runs N] [--before CHECKOUT]
[--without-evidently]`. Twenty numeric and five categorical columns, the second file a little
shifted; contenders take turns to read the same two files in fresh processes, whose CPU time and
peak memory are the table: ours (`drift_files.py`), ours of an older checkout, and Evidently's
`DataDriftPreset`, once (it comes from `install_peers.py evidently`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import duckdb
from peers import CACHE

HERE = Path(__file__).resolve().parent
NUMBERS = tuple(f"n{k}" for k in range(20))
CATEGORIES = {"c0": 3, "c1": 10, "c2": 50, "c3": 200, "c4": 1000}
FILES = ("reference", "current")
FOLDER = CACHE / "drift_speed"
NOTHING = "nothing"
OURS = "driftgate"
BEFORE = "driftgate before"
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


def run(
    contender: str, paths: tuple[Path, Path], before: Path | None
) -> tuple[float, float, int] | str:
    """Return CPU seconds, peak MB and columns compared in a fresh process, or why not."""
    files = [str(path) for path in paths]
    try:
        done = subprocess.run(
            _command(contender, files, before),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
            env=os.environ | ({"PYTHONPATH": str(before)} if contender == BEFORE else {}),
        )
    except FileNotFoundError:
        return f"not installed: python benchmarks/install_peers.py {contender}"
    except subprocess.TimeoutExpired:
        return f"longer than {LIMIT_S} s"
    except subprocess.CalledProcessError as error:
        return f"failed: {error.stderr.strip().splitlines()[-1:] or error.returncode}"
    cpu_s, peak_kb, columns = json.loads(done.stdout.splitlines()[-1])
    return cpu_s, peak_kb / 1024.0, columns


def _command(contender: str, files: list[str], before: Path | None) -> list[str]:
    if contender == EVIDENTLY:
        return [str(CACHE / EVIDENTLY / "bin/python"), "-W", "ignore", "-c", PEER, *files]
    if contender == NOTHING:
        files = []
    folder = HERE if before is None or contender != BEFORE else before / "benchmarks"
    if (folder / "drift_files.py").exists():
        return [sys.executable, str(folder / "drift_files.py"), *files]
    return [sys.executable, str(folder / "drift_speed.py"), "--only", OURS, *files]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--without-evidently", action="store_true")
    given = parser.parse_args()
    contenders = [NOTHING, OURS] + [BEFORE] * bool(given.before)
    contenders += [EVIDENTLY] * (not given.without_evidently)
    print("| Rows a file | Contender | CPU s, least | median | Peak MB | Columns |")
    print("|---|---|---|---|---|---|")
    for rows in given.rows:
        paths = write(rows)
        turns = [{name: run(name, paths, given.before) for name in contenders}]
        turns += [
            {name: run(name, paths, given.before) for name in contenders if name != EVIDENTLY}
            for _ in range(given.runs - 1)
        ]
        for name in contenders:
            print(f"| {rows:,} | {name} | {_cells([turn[name] for turn in turns if name in turn])}")


def _cells(found: list[tuple[float, float, int] | str]) -> str:
    """Return the rest of a row of the table."""
    failed = [why for why in found if isinstance(why, str)]
    if failed:
        return f"{failed[0]} | | | |"
    good = [one for one in found if not isinstance(one, str)]
    took = [one[0] for one in good]
    peak, columns = max(one[1] for one in good), good[0][2]
    return f"{min(took):.2f} | {statistics.median(took):.2f} | {peak:.0f} | {columns} |"


if __name__ == "__main__":
    main()
