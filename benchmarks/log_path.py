"""Cost of the prediction log, a record: on the request path (spool) and behind it.

Behind it are the facts (signals, roll-ups and checkpoint included), with and without text to look
at, what a batch costs however small, and the text on its way from the spool to a file.

The floor of the spool is what any program must do for the same promise: encode, checksum, write(2).
"""

import argparse
import os
import statistics
import tempfile
import time
import zlib
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from gateway.enrich import enrich
from router.clock import SystemClock
from storage.config import RecordConfig
from storage.database import Database
from storage.ids import IdSource
from storage.ingest import Ingester
from storage.records import Attempt, Begin, End, Payload, Prediction
from storage.spool import Spool
from storage.text.archive import TextArchive

CLOCK = SystemClock()
PROMPT = (
    b'{"model":"chat","messages":[{"role":"user","content":"'
    + b"Tell me of the sea. " * 45
    + b'"}]}'
)
ANSWER = b'{"choices":[{"message":{"content":"' + b"The sea is wide and deep. " * 50 + b'"}}]}'


def record(identity: str) -> End:
    """Return a record of usual size: about 2.9 kB encoded."""
    now = CLOCK.now_us()
    facts = Prediction(
        id=identity,
        started_at=now,
        route="chat",
        variant="primary",
        upstream="primary",
        model_asked="chat",
        protocol="openai",
        operation="chat",
        tenant="default",
        status=200,
        latency_s=0.8,
        upstream_s=0.799,
        overhead_s=0.001,
        attempts=1,
        prompt_tokens=310,
        response_tokens=280,
        ttft_s=0.2,
        finish_reason="stop",
        request_bytes=len(PROMPT),
        response_bytes=len(ANSWER),
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    attempt = Attempt(1, "primary", now, 0.799, 200)
    return End(facts, (attempt,), Payload(PROMPT, ANSWER))


def begin(end: End) -> Begin:
    """Return the BEGIN of a record."""
    p = end.prediction
    return Begin(
        p.id,
        p.started_at,
        p.route,
        p.variant,
        p.upstream,
        p.model_asked,
        "openai",
        "chat",
        "default",
    )


def floor_us(directory: Path, records: list[End]) -> float:
    """Encode, checksum and write each record by itself."""
    encoder = msgspec.msgpack.Encoder()
    descriptor = os.open(directory / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    before = time.process_time()
    for one in records:
        body = encoder.encode(one)
        os.write(descriptor, zlib.crc32(body).to_bytes(4, "little") + body)
    spent = time.process_time() - before
    os.close(descriptor)
    return spent / len(records) * 1e6


def spool_us(directory: Path, records: list[End], turn: int) -> float:
    """BEGIN and END of each record, `turn` requests to a turn of the event loop."""

    async def run() -> float:
        spool = Spool.open(directory, worker="bench", config=RecordConfig(), now_us=CLOCK.now_us)
        before = time.process_time()
        for start in range(0, len(records), turn):
            part = records[start : start + turn]
            for one in part:
                spool.begin(begin(one))
            await spool.flushed()
            for one in part:
                spool.end(one)
            await spool.flushed()
        spent = time.process_time() - before
        spool.close()
        return spent / len(records) * 1e6

    return uvloop.run(run())


def ingest_us(directory: Path, records: list[End]) -> float:
    """Read a spool into DuckDB, signals computed, checkpoint included."""
    spool_us(directory / "spool", records, 32)
    database = Database.open(directory, now_us=CLOCK.now_us)
    ingester = Ingester(database, directory / "spool", enrich=enrich, now_us=CLOCK.now_us)
    before, done = time.process_time(), 0
    while done < len(records):
        done += ingester.step().records
    database.checkpoint()
    spent = time.process_time() - before
    database.close()
    return spent / len(records) * 1e6


def archive_us(directory: Path, records: list[End]) -> float:
    """Write the text of what `ingest_us` has read to files."""
    database = Database.open(directory, now_us=CLOCK.now_us)
    archive = TextArchive(database, directory / "spool", CLOCK.now_us)
    before = time.process_time()
    while archive.step(flush=True).more:
        pass
    spent = time.process_time() - before
    database.close()
    return spent / len(records) * 1e6


def small_batch_ms(directory: Path, records: list[End]) -> float:
    """Ingest five records a batch, as a quiet gateway does once a second."""
    database = Database.open(directory, now_us=CLOCK.now_us)
    ingester = Ingester(database, directory / "spool", enrich=enrich, now_us=CLOCK.now_us)
    spent = []
    for start in range(0, 100, 5):
        spool_us(directory / "spool", records[start : start + 5], 5)
        before = time.process_time()
        ingester.step()
        spent.append(time.process_time() - before)
    database.close()
    return statistics.median(spent) * 1e3


def main() -> None:
    """Print a table of medians over interleaved rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ids = IdSource(CLOCK.now_us)
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            records = [record(ids.new_id()) for _ in range(options.records)]
            bare = [End(one.prediction, one.attempts) for one in records]
            few = [record(ids.new_id()) for _ in range(100)]
            measures = {
                "floor: encode, crc32, write(2) of END": partial(floor_us, directory, records),
                "spool: BEGIN + END, 32 requests a turn": partial(
                    spool_us, directory / "spooled", records, 32
                ),
                "ingest: facts, signals, roll-ups": partial(
                    ingest_us, directory / "whole", records
                ),
                "text: spool to Parquet": partial(archive_us, directory / "whole", records),
                "ingest: no text": partial(ingest_us, directory / "bare", bare),
                "ingest: a batch of 5 records (ms a batch)": partial(
                    small_batch_ms, directory / "few", few
                ),
            }
            for name, measure in measures.items():
                found.setdefault(name, []).append(measure())
    print("| step | CPU µs a record (median, min-max) |\n|---|---|")
    for name, values in found.items():
        print(f"| {name} | {statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f}) |")


if __name__ == "__main__":
    main()
