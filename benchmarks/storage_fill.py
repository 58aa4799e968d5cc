"""A week of predictions, written by SQL into the real tables and counted by the real statements.

`python benchmarks/storage_fill.py DIRECTORY --rows N` makes the data directory of a gateway that
has run for seven days: 4 routes of 2 variants, a model each (`--cross`: 8 models on all of them),
log-normal durations, 3 % errors, a baseline of the first day for each route, the archive written.
No text, no trace ids, and durations in whole microseconds: ten million take less than 2 GB.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from gateway.api.baseline_jobs import Wanted, set_baselines
from monitors.options import DEFAULTS
from monitors.windows import Window
from router.clock import SystemClock
from storage.archive.facts import FactArchive
from storage.database import Database, DatabaseLimits
from storage.repository import Repository
from storage.rollups.batch import add_batch
from storage.rollups.compaction import FINE_HOURS
from storage.rollups.rebuild import rebuild_days
from storage.rollups.state import SLOT_US, save_state
from storage.times import DAY_US, HOUR_US

DAYS = 7
ROUTES = ("chat", "search", "code", "mail")
BATCH_ROWS = 5_000
_FINE_US = FINE_HOURS * HOUR_US
_LIMITS = DatabaseLimits(memory="6GB", spill="8GB")
_ZONE_ROWS = 250_000


def share(number: int) -> str:
    """Return SQL for a draw in (0, 1), the same again for the same row."""
    return f"((hash(i * 64 + {number}) >> 11) + 1) / 9007199254740994.0"


def normal(number: int) -> str:
    """Return SQL for a standard normal draw (Box and Muller, 1958)."""
    return f"sqrt(-2 * ln({share(number)})) * cos(6.283185307179586 * {share(number + 1)})"


def pick(values: tuple[str, ...], number: int) -> str:
    """Return SQL that draws one of some words, the first ones oftener."""
    words = ", ".join(f"'{value}'" for value in values)
    return f"[{words}][1 + floor({len(values)} * pow({share(number)}, 1.6))::INTEGER]"


_DRAWS = {
    "d_long": normal(1),
    "d_text": normal(3),
    "d_fast": normal(5),
    "d_error": share(7),
    "d_cache": share(8),
    "d_kind": share(9),
    "d_route": pick(ROUTES, 11),
    "d_variant": f"CASE WHEN {share(12)} < 0.1 THEN 'candidate' ELSE 'primary' END",
    "d_model": "'model-' || d_variant || '-' || d_route",
}
_CROSS = {**_DRAWS, "d_model": pick(tuple(f"model-{letter}" for letter in "abcdefgh"), 10)}
_LATENCY = "0.8 * exp(0.7 * d_long)"
_FAILED = "d_error < 0.01"
_REFUSED = "d_error BETWEEN 0.01 AND 0.03"
_COLUMNS = {
    "id": "(lpad(to_hex(moment_us // 1000), 12, '0') || '7' || substr(md5(i::VARCHAR), 1, 3) || '8'"
    " || substr(md5(i::VARCHAR), 4, 15))::UUID",
    "started_at": "make_timestamp(moment_us)",
    "route": "d_route",
    "variant": "d_variant",
    "upstream": f"CASE WHEN {_FAILED} THEN '' ELSE d_variant || '-' || d_route END",
    "model_asked": "d_model",
    "protocol": "'openai'",
    "operation": "'chat'",
    "tenant": "'default'",
    "status": f"CASE WHEN {_FAILED} THEN 502 WHEN {_REFUSED} THEN 429 ELSE 200 END",
    "latency_s": f"round({_LATENCY}, 6)",
    "upstream_s": f"round(0.99 * {_LATENCY}, 6)",
    "overhead_s": "round(0.001 * exp(0.3 * d_fast), 6)",
    "role": "CASE WHEN d_kind < 0.02 THEN 'shadow' ELSE 'primary' END",
    "cache": "CASE WHEN d_cache < 0.1 THEN 'hit' WHEN d_cache < 0.8 THEN 'miss' ELSE 'bypass' END",
    "reason": f"CASE WHEN {_FAILED} THEN 'upstream_timeout'"
    f" WHEN {_REFUSED} THEN 'upstream_rejected' END",
    "attempts": f"CASE WHEN {_FAILED} THEN 2 ELSE 1 END",
    "stream": "d_kind > 0.5",
    "model_answered": "CASE WHEN d_error > 0.03 THEN d_model || '-1' END",
    "user_key": "md5((hash(i * 64 + 20) % 2000)::VARCHAR)",
    "finish_reason": "CASE WHEN d_error > 0.03 THEN"
    " CASE WHEN d_cache > 0.95 THEN 'length' ELSE 'stop' END END",
    "truncated": "false",
    "prompt_tokens": "(300 * exp(0.5 * d_text))::BIGINT",
    "response_tokens": "CASE WHEN d_error > 0.03 THEN (150 * exp(0.6 * d_long))::BIGINT END",
    "cost_usd": "round(0.0001 * exp(d_text), 7)",
    "ttft_s": "CASE WHEN d_kind > 0.5 THEN round(0.2 * exp(0.5 * d_long), 6) END",
    "time_per_output_token_s": "CASE WHEN d_kind > 0.5 THEN round(0.01 * exp(0.2 * d_fast), 6) END",
    "request_bytes": "(1400 * exp(0.5 * d_text))::BIGINT",
    "response_bytes": "(800 * exp(0.6 * d_long))::BIGINT",
    "tags": "[]",
    "prompt_chars": "(1200 * exp(0.5 * d_text))::BIGINT",
    "response_chars": "(600 * exp(0.6 * d_long))::BIGINT",
    "language": pick(("en", "en", "en", "de", "fr", "es"), 21),
    "refusal": f"{share(22)} < 0.01",
    "batch": f"1 + i // {BATCH_ROWS}",
    "source": "'generated'",
    "segment": "1",
    "byte_offset": "i",
    "has_payload": "false",
}
_ATTEMPTS = """
INSERT INTO attempts BY NAME
SELECT id AS prediction_id, role, route, 1 AS attempt_no, variant || '-' || route AS upstream,
    started_at, upstream_s AS latency_s, status, reason, ttft_s, batch
FROM predictions WHERE batch > ? ORDER BY rowid
"""


def fill(directory: Path, rows: int, *, cross: bool = False) -> Iterator[tuple[str, float]]:
    """Make the data directory; yield what was done and the seconds it took.

    Parameters
    ----------
    directory : Path
        Empty or absent.
    rows : int
        Predictions, spread evenly over the last seven days.
    cross : bool
        Every model answers on every route and variant: eight times as many series of roll-ups.
    """
    draws = _CROSS if cross else _DRAWS
    clock = SystemClock()
    now_us = clock.now_us()
    database = Database.open(directory, now_us=clock.now_us, limits=_LIMITS)
    start_us, step_us = now_us - DAYS * DAY_US, DAYS * DAY_US // rows
    first_day = rows // DAYS
    with database.cursor() as cursor:
        save_state(
            cursor,
            rollup_hours_until=(now_us - _FINE_US) // HOUR_US * HOUR_US,
            rollup_slots_until=now_us // SLOT_US * SLOT_US,
        )
        began_s = time.monotonic()
        _insert(cursor, draws, range(first_day), (start_us, step_us))
        _set_baselines(database, start_us, start_us + first_day * step_us)
        _insert(cursor, draws, range(first_day, rows), (start_us, step_us))
        cursor.execute("DELETE FROM log_state WHERE name = 'batch'")
        cursor.execute("INSERT INTO log_state SELECT 'batch', max(batch) FROM predictions")
        yield "facts", time.monotonic() - began_s
        began_s = time.monotonic()
        for low_us in range(start_us // HOUR_US * HOUR_US, now_us, 12 * HOUR_US):
            high_us = min(low_us + 12 * HOUR_US, (now_us // HOUR_US + 1) * HOUR_US)
            rebuild_days(cursor, low_us, high_us)
        yield "roll-ups", time.monotonic() - began_s
    began_s = time.monotonic()
    database.checkpoint()
    FactArchive(database, now_us=clock.now_us).archive_now()
    database.close()
    yield "archive", time.monotonic() - began_s


def _insert(
    cursor: duckdb.DuckDBPyConnection, drawn: Mapping[str, str], numbers: range, at: tuple[int, int]
) -> None:
    start_us, step_us = at
    names, values = ", ".join(_COLUMNS), ", ".join(_COLUMNS.values())
    draws = ", ".join(f"{draw} AS {name}" for name, draw in drawn.items())
    before = cursor.execute("SELECT coalesce(max(batch), 0) FROM predictions").fetchall()[0][0]
    for low in range(numbers.start, numbers.stop, _ZONE_ROWS):
        cursor.execute(
            f"INSERT INTO predictions ({names}) SELECT {values} FROM ("  # noqa: S608 (expressions of this file)
            f" SELECT i, {start_us} + i * {step_us} AS moment_us, {draws} FROM range(?, ?) r(i))"
            " ORDER BY i",
            [low, min(numbers.stop, low + _ZONE_ROWS)],
        )
    cursor.execute(_ATTEMPTS, [before])


def _set_baselines(database: Database, from_us: int, to_us: int) -> None:
    """Set a baseline of a period for each route, as `monitor baseline set` would at its end."""
    repository = Repository(database)
    wanted = Wanted("default", None, Window(from_us, to_us))
    set_baselines(repository, DEFAULTS, wanted, to_us)
    with database.cursor() as cursor:
        cursor.begin()
        newest = cursor.execute("SELECT max(batch) FROM predictions").fetchall()[0][0]
        add_batch(cursor, newest + 1)
        cursor.commit()


def main() -> None:
    """Fill a directory; say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--cross", action="store_true", help="8 models on every route and variant")
    options = parser.parse_args()
    for step, seconds in fill(options.directory, options.rows, cross=options.cross):
        print(f"{step}: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
