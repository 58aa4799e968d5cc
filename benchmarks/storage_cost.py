"""CPU of the prediction log, a record: on the request path, and behind it.

The floor of the request path is what any program must do for the same promise: encode, checksum,
write(2). Beside the writer stand other ways to fill the same table with the same facts.
"""

import importlib
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import duckdb
import msgspec
import numpy as np
from msgspec.structs import asdict, astuple
from peers import CACHE
from storage_samples import CLOCK, plain, spool_us, without_text
from tables import spread, table

from gateway.enrich import enrich
from storage.archive.facts import FactArchive
from storage.columns import insert, prediction_arrays
from storage.database import Database
from storage.ingest import Ingester
from storage.records import End, Prediction, Signals
from storage.rows import NOWHERE
from storage.text.archive import TextArchive
from storage.times import to_timestamp

Found = dict[str, list[float]]
BATCH = 5_000
FEW = 5
_EXECUTEMANY_ROWS = 300
_NO_SIGNALS = Signals("")
_FIELDS = Prediction.__struct_fields__


def interleaved(rounds: int, prepare: Callable[[Path], dict[str, Callable[[], float]]]) -> Found:
    """Measure each step once a round, in a folder of the round's own; return values by step."""
    found: Found = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, measure in prepare(Path(folder)).items():
                found.setdefault(name, []).append(measure())
    return found


def request_path(rounds: int, records: int) -> str:
    """Measure what a worker spends on the log before it answers."""
    ends = plain(records)

    def prepare(folder: Path) -> dict[str, Callable[[], float]]:
        spooled = folder / "spool"
        return {
            "floor: encode, crc32, write(2) of END": partial(_floor_us, folder, ends),
            "spool: END, 1 request a turn": partial(spool_us, spooled, ends, 1, begins=False),
            "spool: BEGIN + END, 1 request a turn": partial(spool_us, spooled, ends, 1),
            "spool: BEGIN + END, 32 requests a turn": partial(spool_us, spooled, ends, 32),
        }

    rows = [[name, spread(values)] for name, values in interleaved(rounds, prepare).items()]
    return table(["on the request path", "CPU µs a record"], rows)


def writing(rounds: int, records: int) -> str:
    """Measure the writer whole, its parts' fixed cost, the archivers and other ways to write."""
    ends, few = plain(records), plain(100, seed=3)
    bare = without_text(ends)

    def prepare(folder: Path) -> dict[str, Callable[[], float]]:
        whole = folder / "whole"
        return {
            "the writer whole, with text": partial(_ingest_us, whole, ends),
            "the writer whole, without text": partial(_ingest_us, folder / "bare", bare),
            "text, spool to Parquet": partial(_text_us, whole, records),
            "facts, database to Parquet": partial(_facts_us, whole, records),
            "`predictions` alone: the writer's arrays": partial(
                _fill_us, folder / "arrays", ends, _by_arrays
            ),
            "`predictions` alone: Arrow": partial(_fill_us, folder / "arrow", ends, _by_arrow),
            "`predictions` alone: Appender, rows": partial(
                _fill_us, folder / "rows", ends, _by_appender
            ),
            f"`predictions` alone: executemany ({_EXECUTEMANY_ROWS} rows)": partial(
                _fill_us, folder / "many", ends[:_EXECUTEMANY_ROWS], _by_executemany
            ),
            f"a batch of {FEW} records": partial(_batch_us, folder / "few", few),
        }

    found = interleaved(rounds, prepare)
    batch = found.pop(f"a batch of {FEW} records")
    rows = [
        [name, spread(values) if _known(values) else "not installed", _rate(values)]
        for name, values in found.items()
    ]
    written = table(["behind it", "CPU µs a record", "records a second of one core"], rows)
    fixed = spread([value / 1e3 for value in batch])
    return f"{written}\n\nA batch of {FEW} records costs {fixed} ms of CPU, by itself."


def _known(values: Sequence[float]) -> bool:
    return not np.isnan(values).any()


def _rate(values: Sequence[float]) -> str:
    return f"{1e6 / statistics.median(values):,.0f}" if _known(values) else "-"


def _floor_us(folder: Path, ends: Sequence[End]) -> float:
    encoder = msgspec.msgpack.Encoder()
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    before_s = time.process_time()
    for one in ends:
        body = encoder.encode(one)
        os.write(descriptor, zlib.crc32(body).to_bytes(4, "little") + body)
    spent_s = time.process_time() - before_s
    os.close(descriptor)
    return spent_s / len(ends) * 1e6


def _ingest_us(folder: Path, ends: Sequence[End]) -> float:
    """Read a spool into DuckDB: decode, signals, facts, roll-ups, marks, commit, checkpoint."""
    spool_us(folder / "spool", ends, 32)
    database = Database.open(folder, now_us=CLOCK.now_us)
    ingester = Ingester(database, folder / "spool", enrich=enrich, now_us=CLOCK.now_us)
    before_s, done = time.process_time(), 0
    while done < len(ends):
        done += ingester.step().records
    database.checkpoint()
    spent_s = time.process_time() - before_s
    database.close()
    return spent_s / len(ends) * 1e6


def _batch_us(folder: Path, ends: Sequence[End]) -> float:
    """Ingest a few records a batch, as a quiet gateway does once a second."""
    database = Database.open(folder, now_us=CLOCK.now_us)
    ingester = Ingester(database, folder / "spool", enrich=enrich, now_us=CLOCK.now_us)
    spent_s = []
    for start in range(0, len(ends), FEW):
        spool_us(folder / "spool", ends[start : start + FEW], FEW)
        before_s = time.process_time()
        ingester.step()
        spent_s.append(time.process_time() - before_s)
    database.close()
    return statistics.median(spent_s) * 1e6


def _text_us(folder: Path, records: int) -> float:
    database = Database.open(folder, now_us=CLOCK.now_us)
    archive = TextArchive(database, folder / "spool", CLOCK.now_us)
    before_s = time.process_time()
    while archive.step(flush=True).more:
        pass
    spent_s = time.process_time() - before_s
    database.close()
    return spent_s / records * 1e6


def _facts_us(folder: Path, records: int) -> float:
    database = Database.open(folder, now_us=CLOCK.now_us)
    archive = FactArchive(database, now_us=CLOCK.now_us)
    before_s = time.process_time()
    archive.archive_now()
    spent_s = time.process_time() - before_s
    database.close()
    return spent_s / records * 1e6


def _fill_us(
    folder: Path,
    ends: Sequence[End],
    write: Callable[[duckdb.DuckDBPyConnection, Sequence[End]], None],
) -> float:
    """Write the facts of records to `predictions` in batches; NaN where the library is not."""
    database = Database.open(folder, now_us=CLOCK.now_us)
    before_s = time.process_time()
    try:
        with database.cursor() as cursor:
            for start in range(0, len(ends), BATCH):
                cursor.begin()
                write(cursor, ends[start : start + BATCH])
                cursor.commit()
        database.checkpoint()
    except ModuleNotFoundError:
        return float("nan")
    finally:
        spent_s = time.process_time() - before_s
        database.close()
    return spent_s / len(ends) * 1e6


def _by_arrays(cursor: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> None:
    signals, places = [_NO_SIGNALS] * len(ends), [NOWHERE] * len(ends)
    insert(cursor, "predictions", prediction_arrays(ends, signals, places, 1))


def _by_arrow(cursor: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> None:
    # At the end of the path: what the project's own environment has stays as it is.
    if str(CACHE / "libraries") not in sys.path:
        sys.path.append(str(CACHE / "libraries"))
    arrow = importlib.import_module("pyarrow")
    columns = zip(*(astuple(end.prediction) for end in ends), strict=True)
    arrays = [arrow.array(values) for values in columns]
    cursor.register("arrow_rows", arrow.Table.from_arrays(arrays, names=_FIELDS))
    names = ", ".join(_FIELDS)
    values = names.replace("started_at", "make_timestamp(started_at)")
    cursor.execute(
        f"INSERT INTO predictions ({names}, batch) SELECT {values}, 1 FROM arrow_rows"  # noqa: S608 (names of a record)
    )
    cursor.unregister("arrow_rows")


def _by_appender(cursor: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> None:
    with cursor.appender("predictions") as appender:
        appender.append_rows(_tuples(cursor, ends))


def _by_executemany(cursor: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> None:
    rows = list(_tuples(cursor, ends))
    marks = ", ".join("?" * len(rows[0]))
    cursor.executemany(f"INSERT INTO predictions VALUES ({marks})", rows)  # noqa: S608 (marks alone)


def _tuples(cursor: duckdb.DuckDBPyConnection, ends: Sequence[End]) -> Iterator[tuple[object, ...]]:
    """Yield rows in the order of the table's columns."""
    described = cursor.execute("DESCRIBE predictions").fetchall()
    unknown = dict.fromkeys((name for name, *_ in described), None)
    for end in ends:
        known = asdict(end.prediction)
        known["started_at"] = to_timestamp(end.prediction.started_at)
        yield tuple({**unknown, **known, "batch": 1}.values())
