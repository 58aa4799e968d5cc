from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.watched_traffic import HOUR_US, NOW, REFERENCE, Traffic

from monitors.baselines import read_references
from monitors.config import MonitorsConfig
from monitors.counted import CountedWindows, Features
from monitors.drift import Comparison, compare
from monitors.references.making import Period, make
from monitors.signals.table import SIGNALS_BY_NAME
from storage.reader import Scope, Window
from storage.repository import Repository
from storage.rollups.statements import VALUE_CHARS
from storage.writer import Batch, write_batch

WORDS = tuple("x" * VALUE_CHARS + end for end in "abc")
"""Categories that roll-ups cannot tell apart."""


def write(traffic: Traffic, rows: int, window: Window) -> None:
    """Write predictions whose language is one of the long words."""
    ends, signals = [], []
    for at in np.linspace(*window, rows, endpoint=False).astype(np.int64).tolist():
        end, signal = traffic.one(at)
        ends.append(end)
        signals.append(msgspec.structs.replace(signal, language=WORDS[len(ends) % 3]))
    with traffic.database.cursor() as connection:
        write_batch(connection, Batch(ends, signals, (), (), ()), now_us=NOW)


@pytest.mark.parametrize("counted", [True, False])
def test_words_that_rollups_cut_are_not_new(tmp_path: Path, *, counted: bool) -> None:
    """Counts over the baseline's cells know them whole; without those the rows do."""
    database = open_empty_log(tmp_path, now_us=lambda: NOW)
    repository, traffic = Repository(database), Traffic(database)
    write(traffic, 300, Window(REFERENCE.from_us, REFERENCE.to_us))
    period = Period("whole", "chat", REFERENCE, {"kind": "period"})
    references = read_references(make(repository, MonitorsConfig(), period, NOW))
    window = Window(NOW - HOUR_US, NOW)
    write(traffic, 300, window)
    with repository.snapshot() as log:
        words = Features.of((), log.categories(Scope(window, route="chat"), ["language"]))
        windows = CountedWindows(log, window, words, complete=True, exact=False)
        windows.prepare("chat", "whole@1" if counted else "another@1", references)
        seen = windows.window("chat", SIGNALS_BY_NAME["language"])
    assert isinstance(seen, list) is not counted
    assert counted or Counter(seen) == dict.fromkeys(WORDS, 100)  # type: ignore[arg-type]  # a list
    found = compare(references["language"], seen, alpha=1e-6, min_samples=50)
    assert isinstance(found, Comparison)
    assert found.new is not None
    assert (found.new.value, found.psi.value) == (0.0, 0.0)
    database.close()
