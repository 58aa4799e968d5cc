"""Compare two Parquet files column by column: what `drift_speed.py` measures of driftgate.

`python benchmarks/drift_files.py [REFERENCE CURRENT]` prints, as JSON, the CPU seconds of the
process, its peak memory in kB and how many columns it compared: PSI, KS with its p, Wasserstein-1
in sd, Jensen-Shannon, chi-square, new categories and missing rows, with intervals. Without files it
is what starting up costs.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from stats.arrays import FloatArray
from stats.categories import CategoryCells
from stats.cells import NumericCells
from stats.chi2 import chi2_homogeneity, new_rate
from stats.divergence import js_distance
from stats.ecdf import Ecdf
from stats.grid_line import measure_prepared
from stats.gridded import Prepared, prepare, prepare_beside
from stats.ks import ks_of
from stats.ks_p import ks_p_value
from stats.missing import rate_change
from stats.psi import psi
from stats.wasserstein import wasserstein_of

TABLES = ("reference", "current")
READ = """
SET threads = 1; SET memory_limit = '256MB'; SET parquet_metadata_cache = true;
-- Nothing here asks for the rows' order, which takes time to keep.
SET preserve_insertion_order = false
"""
DICTIONARIES = """
SELECT path_in_schema FROM parquet_metadata($path) GROUP BY ALL
HAVING bool_and(encodings IN ('PLAIN_DICTIONARY', 'RLE_DICTIONARY'))
"""


def compare(paths: list[str]) -> dict[str, dict[str, float]]:
    """Compare the files column by column."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute(READ)
        coded = []
        for table, path in zip(TABLES, paths, strict=True):
            connection.read_parquet(path).create_view(table)
            rows = connection.execute(DICTIONARIES, {"path": path}).fetchall()
            coded.append({name for (name,) in rows})
        for name, kind in zip(*_columns(connection), strict=True):
            if kind == "VARCHAR":
                found[name] = _categories(connection, name)
            else:
                found[name] = _numbers(connection, name, few=name in coded[0] & coded[1])
    return found


def _columns(connection: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    table = connection.table(TABLES[0])
    return table.columns, [str(kind) for kind in table.types]


def _numbers(connection: duckdb.DuckDBPyConnection, name: str, *, few: bool) -> dict[str, float]:
    before, missing = _read(connection, TABLES[0], name, few=few)
    now, missing_now = _read(connection, TABLES[1], name, few=few, beside=before)
    cells = NumericCells.from_reference(before)
    counts = cells.count_sample(before, missing=missing)
    counts_now = cells.count_sample(now, missing=missing_now)
    m, n = before.n, now.n
    line = measure_prepared(before, now)
    d = ks_of(line, m, n)
    return {
        "psi": psi(counts, counts_now).value,
        "js": js_distance(counts, counts_now).value,
        "ks": d.value,
        "ks_p": ks_p_value(d.value, m, n),
        "wasserstein_sd": wasserstein_of(line, before, n, "sd").value,
        "missing": rate_change(missing, m + missing, missing_now, n + missing_now).value,
    }


def _read(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    name: str,
    *,
    few: bool,
    beside: Prepared | None = None,
) -> tuple[Prepared, int]:
    """Return a column's known rows, prepared, and how many are missing."""
    if few:
        rows = _counted(connection, table, name)
        missing = rows.pop(None, 0)
        return Ecdf.of(list(rows), list(rows.values())), missing
    column = connection.table(table).project(name).fetchnumpy()[name]
    known: FloatArray = np.ma.compressed(column).astype(np.float64, copy=False)
    missing = column.size - known.size
    return (prepare(known) if beside is None else prepare_beside(known, beside)), missing


def _counted(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> dict[Any, int]:
    return dict(connection.table(table).aggregate(f"{name}, count(*)", name).fetchall())


def _categories(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, float]:
    before, now = (_counted(connection, table, name) for table in TABLES)
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


def main() -> None:
    """Compare, and print what it took."""
    found = compare(sys.argv[1:]) if sys.argv[1:] else {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not `ru_maxrss`, which still knows the process that this one was forked from.
    peak_kb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(json.dumps([used.ru_utime + used.ru_stime, peak_kb, len(found)]))


if __name__ == "__main__":
    main()
