"""A prediction log with foreseeable contents, filled through the spool and the ingester."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from support.empty_log import lay_empty_log
from support.log_records import SegmentWriter, end_of

from monitors.windows import Window
from storage.database import Database
from storage.frames import FrameKind
from storage.ingest import Ingester
from storage.records import Attempt, End, Signals

HOUR = 3_600_000_000
START = 1_700_000_000_000_000 // HOUR * HOUR
"""2023-11-14T22:00:00Z: in the past of every clock."""
HOURS = Window(START, START + HOUR)
BEFORE = Window(START - 24 * HOUR, START)


def at(second: float, number: int, **facts: object) -> End:
    """Return a record that started some seconds after `START`."""
    started_at = START + round(second * 1_000_000)
    end = end_of(number, text=False, **{"started_at": started_at, **facts})
    attempts = tuple(msgspec.structs.replace(a, started_at=started_at) for a in end.attempts)
    return msgspec.structs.replace(end, attempts=attempts)


def known_traffic() -> list[End]:
    """Return eight requests of `chat`, two of `other`, one shadow: see the tests' figures."""
    primary = [
        at(1, 1, latency_s=1.0, ttft_s=0.1, overhead_s=0.001, cost_usd=0.5, cache="miss"),
        at(2, 2, latency_s=2.0, ttft_s=0.2, overhead_s=0.002, cost_usd=0.25, cache="hit"),
        at(3, 3, latency_s=3.0, ttft_s=0.3, overhead_s=0.003, cost_usd=None, cache="miss"),
        at(4, 4, latency_s=4.0, ttft_s=None, overhead_s=0.004, prompt_tokens=None),
        at(5, 5, latency_s=5.0, ttft_s=None, overhead_s=0.005, status=502, reason="no_upstream"),
        at(6, 6, status=0, reason="interrupted", latency_s=0.0, ttft_s=None, cost_usd=None),
    ]
    candidate = [
        at(7, 7, variant="candidate", latency_s=6.0, fallback_from="candidate", stream=True),
        at(8, 8, variant="candidate", latency_s=8.0, status=404, reason="upstream_rejected"),
    ]
    other = [
        at(9, 9, route="other", model_answered="m-3", response_tokens=None),
        at(10, 10, route="other", model_answered="m-3", truncated=True),
    ]
    failed = at(1.5, 11, role="shadow", variant="candidate", pair_id=primary[0].prediction.id)
    tries = (
        Attempt(1, "primary", START + 7_000_000, 0.2, 503, "upstream_error"),
        Attempt(2, "backup", START + 7_200_000, 0.4, 200),
    )
    candidate[0] = msgspec.structs.replace(candidate[0], attempts=tries)
    return [*primary, *candidate, *other, failed]


def steady(rows: int, window: Window, *, first: int, longer: float = 1.0) -> list[End]:
    """Return evenly spread requests of `chat` whose prompts have 100..199 tokens in turn."""
    step = (window.to_us - window.from_us) // rows
    return [
        at(
            (window.from_us - START + i * step) / 1e6,
            first + i,
            prompt_tokens=round((100 + i * 37 % 100) * longer),
            latency_s=0.5 + i * 53 % 100 / 100,
        )
        for i in range(rows)
    ]


def signals_of(ends: Sequence[End]) -> list[Signals]:
    """Return signals that can be foreseen."""
    return [Signals(end.prediction.id, error=end.prediction.reason is not None) for end in ends]


def fill(data_dir: Path, ends: Sequence[End], *, torn: bytes = b"") -> None:
    """Write records as a worker does and take them in; `torn` is left behind the last one."""
    writer = SegmentWriter(data_dir / "spool")
    for end in ends:
        writer.write(FrameKind.END, end)
    if torn:
        writer.raw(torn)
    writer.die()
    with opened(data_dir) as database:
        ingester = Ingester(
            database, data_dir / "spool", enrich=signals_of, now_us=lambda: START + 60_000_000
        )
        while ingester.step().frames:
            pass
        ingester.step()


@contextmanager
def opened(data_dir: Path) -> Iterator[Database]:
    """Open for writing, close at the end."""
    lay_empty_log(data_dir)
    database = Database.open(data_dir, now_us=lambda: START)
    try:
        yield database
    finally:
        database.close()
