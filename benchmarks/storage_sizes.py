"""Bytes a record on the disk: spool, facts with roll-ups, text, the archive of facts."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
from storage_samples import CLOCK, TURNS, chats, plain, spool_us, without_text
from tables import table

from gateway.enrich import enrich
from storage.archive.facts import FactArchive
from storage.database import Database
from storage.ingest import Ingester
from storage.records import End
from storage.text.archive import TextArchive

_HEADER = (
    "record", "as JSON", "spool", "facts and roll-ups (DuckDB)", "text (Parquet)",
    "the same as whole strings", "facts (Parquet)",
)  # fmt: skip


def sizes(records: int) -> str:
    """Measure plain records, chats and records without text."""
    ordinary = plain(records)
    kinds = {
        "one question, one answer": ordinary,
        "the same without text": without_text(ordinary),
        f"chats of {TURNS} turns": chats(records),
    }
    return table(_HEADER, [[name, *_measure(ends)] for name, ends in kinds.items()])


def _measure(ends: Sequence[End]) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool_us(folder / "spool", ends, 32)
        spooled = _bytes(folder / "spool", "*.seg")
        database = Database.open(folder, now_us=CLOCK.now_us)
        empty = database.statistics().file_bytes
        ingester = Ingester(database, folder / "spool", enrich=enrich, now_us=CLOCK.now_us)
        while ingester.step().more:
            pass
        database.checkpoint()
        facts = database.statistics().file_bytes - empty
        text = TextArchive(database, folder / "spool", CLOCK.now_us)
        while text.step(flush=True).more:
            pass
        FactArchive(database, now_us=CLOCK.now_us).archive_now()
        database.close()
        found = {
            "as JSON": sum(_text_bytes(end) for end in ends),
            "spool": spooled,
            "facts": facts,
            "text": _bytes(folder / "payloads", "**/*.parquet"),
            "strings": _as_strings(folder / "strings.parquet", ends),
            "archive": _bytes(folder / "archive", "facts/**/*.parquet"),
        }
    each = [round(value / len(ends)) for value in found.values()]
    return [f"{value:,}" if value else "-" for value in each]


def _text_bytes(end: End) -> int:
    return 0 if end.payload is None else len(end.payload.request) + len(end.payload.response)


def _as_strings(path: Path, ends: Sequence[End]) -> int:
    """Write requests and answers as two columns of whole strings, compressed alike."""
    payloads = [end.payload for end in ends if end.payload is not None]
    if not payloads:
        return 0
    columns = {
        "id": np.array([end.prediction.id for end in ends], dtype=object),
        "request": np.array([one.request.decode() for one in payloads], dtype=object),
        "response": np.array([one.response.decode() for one in payloads], dtype=object),
    }
    with duckdb.connect(":memory:") as connection:
        connection.register("strings", columns)
        connection.execute(
            "COPY (SELECT id::UUID AS id, request, response FROM strings)"  # noqa: S608 (our path)
            f" TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )
    return path.stat().st_size


def _bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))
