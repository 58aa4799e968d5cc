"""Seeded traffic of a real prediction log, and a monitor that watches it."""

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from support.empty_log import open_empty_log

from monitors.config import MonitorsConfig
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.database import FILE_NAME, Database
from storage.ids import new_id
from storage.records import End, Prediction, Signals, Verdict
from storage.repository import Repository
from storage.writer import Batch, write_batch

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
STEP_US = 300_000_000
START = 1_792_800_000_000_000 // HOUR_US * HOUR_US
NOW = START + 3 * DAY_US
REFERENCE = Window(START, START + DAY_US)


class Traffic:
    """Seeded traffic of one route, written to a real database."""

    def __init__(self, database: Database, seed: int = 5) -> None:
        self.database = database
        self.rng = np.random.default_rng(seed)
        self.number = 0

    def write(self, rows: int, window: Window, **changes: Any) -> None:
        """Write `rows` predictions that are spread evenly over a window."""
        stamps = np.linspace(window.from_us, window.to_us, rows, endpoint=False)
        ends, signals = [], []
        for at in stamps.astype(np.int64).tolist():
            end, signal = self.one(at, **changes)
            ends.append(end)
            signals.append(signal)
        with self.database.cursor() as connection:
            write_batch(connection, Batch(ends, signals, (), (), ()), now_us=NOW)

    def one(
        self,
        at: int,
        *,
        route: str = "chat",
        role: Any = "primary",
        longer: float = 1.0,
        german: float = 0.1,
        same: bool = False,
        variant: str = "primary",
    ) -> tuple[End, Signals]:
        """Return one record and its signals."""
        self.number += 1
        chars = int(longer * self.rng.lognormal(5.0, 0.6))
        prediction = Prediction(
            id=new_id(at, self.number.to_bytes(8, "big")),
            started_at=at,
            route=route,
            variant=variant,
            upstream="primary",
            model_asked=route,
            protocol="openai",
            operation="chat",
            tenant="default",
            status=200,
            latency_s=1.0 if same else float(self.rng.lognormal(0.0, 0.5)),
            upstream_s=0.1,
            overhead_s=0.001,
            role=role,
            finish_reason="length" if self.rng.random() < 0.1 else "stop",
            prompt_tokens=chars // 4,
            response_tokens=int(self.rng.lognormal(4.0, 0.5)),
        )
        language = "de" if self.rng.random() < german else "en"
        return End(prediction), Signals(
            id=prediction.id,
            prompt_chars=chars,
            response_chars=int(self.rng.lognormal(6.0, 0.5)),
            language=language,
            answer_language="en",
            refusal=bool(self.rng.random() < 0.02),
            error=False,
        )


class _Kept(NamedTuple):
    """A log with traffic, and where its draws stand."""

    content: bytes
    draws: Any
    number: int


def reference_traffic(data_dir: Path, *rows: tuple[int, str], now_us: int = NOW) -> Traffic:
    """Open a log with so many rows of a variant, each, in the reference day: written once."""
    kept = _reference(rows)
    (data_dir / FILE_NAME).write_bytes(kept.content)
    made = Traffic(Database.open(data_dir, now_us=lambda: now_us))
    made.rng.bit_generator.state, made.number = kept.draws, kept.number
    return made


@functools.cache
def _reference(rows: tuple[tuple[int, str], ...]) -> _Kept:
    with tempfile.TemporaryDirectory() as folder:
        made = Traffic(open_empty_log(Path(folder), now_us=lambda: NOW))
        for count, variant in rows:
            made.write(count, REFERENCE, variant=variant)
        made.database.close()
        content = (Path(folder) / FILE_NAME).read_bytes()
    return _Kept(content, made.rng.bit_generator.state, made.number)


class Watch:
    """A monitor over a database, and what it handed on."""

    def __init__(
        self, database: Database, routes: Sequence[str] = ("chat",), **options: Any
    ) -> None:
        period = {"from": "2026-10-24T00:00:00Z", "to": "2026-10-25T00:00:00Z"}
        options.setdefault("baseline", period)
        self.received: list[list[Verdict]] = []
        self.repository = Repository(database)
        self.config = MonitorsConfig.model_validate(options)
        self.monitor = MonitorRun(self.repository, self.config, routes, self.received.append)

    def look(self, now_us: int = NOW) -> dict[str, str]:
        """Look once; return the verdict of each feature."""
        return {v.feature: v.verdict for v in self.monitor.run_once(now_us)}
