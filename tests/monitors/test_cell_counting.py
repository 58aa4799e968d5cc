from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, end_of

from monitors.baselines import build_baseline, label, read_references
from monitors.windows import Window
from storage import reader
from storage.records import End, Signals
from storage.repository import Repository
from storage.writer import Batch

FEATURES = (*reader.NUMERIC_FEATURES, *reader.CATEGORY_FEATURES)
ROWS = 400


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


def batch_of(first: int, draws: np.random.Generator, *, languages: list[str]) -> Batch:
    """Return 400 records whose numbers and categories vary, some unknown."""
    ends: list[End] = []
    signals: list[Signals] = []
    for number in range(first, first + ROWS):
        ends.append(
            end_of(
                number,
                text=False,
                latency_s=float(draws.choice([0.25, draws.lognormal()])),
                ttft_s=None if number % 5 == 0 else float(draws.lognormal()),
                prompt_tokens=int(draws.integers(0, 9)),
                response_tokens=None,
                reason="interrupted" if number % 50 == 0 else None,
                finish_reason=str(draws.choice(["stop", "length"])),
            )
        )
        signals.append(
            Signals(
                ends[-1].prediction.id,
                prompt_chars=int(draws.integers(0, 10**6)),
                language=str(draws.choice(languages)),
                refusal=bool(draws.integers(0, 2)),
            )
        )
    return Batch(ends, signals, (), (), ())


def test_cells_in_the_log_are_those_of_the_statistics(repository: Repository) -> None:
    """For every feature the log counts the same cells as `stats` does of the raw columns."""
    draws = np.random.default_rng(4)
    repository.append(batch_of(0, draws, languages=["en", "de"]), now_us=NOW)
    columns = repository.feature_columns("chat", FEATURES, NOW, NOW + ROWS)
    baseline = build_baseline("week", "chat", Window(NOW, NOW + ROWS), columns, NOW)
    repository.save_baseline(baseline)
    repository.append(batch_of(1_000, draws, languages=["en", "fr"]), now_us=NOW)
    scope = reader.Scope(reader.Window(NOW + 1_000, NOW + 2_000), "chat")
    found = repository.cells(scope, label(baseline))
    columns = repository.feature_columns("chat", FEATURES, NOW + 1_000, NOW + 2_000)
    values: dict[str, Any] = dict(columns)
    references = read_references(baseline)
    assert set(found) == set(references)
    for feature, reference in references.items():
        counts = reference.cells.count(values[feature])
        wanted = {cell: int(n) for cell, n in enumerate(counts) if n}
        assert dict(found[feature]) == wanted, feature
