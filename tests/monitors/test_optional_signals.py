from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.empty_log import open_empty_log
from support.watched_traffic import HOUR_US, NOW, REFERENCE, Traffic, Watch

from monitors.signals.table import OPTIONAL
from monitors.windows import Window
from storage.database import Database
from storage.records import End, Signals

LAST_HOUR = Window(NOW - HOUR_US, NOW)


class JsonTraffic(Traffic):
    """Traffic of which some asks for JSON, and some is of a predictive model."""

    def one(
        self, at: int, *, valid: float | None = None, spam: float | None = None, **changes: Any
    ) -> tuple[End, Signals]:
        """Return one record and its signals; `valid` and `spam` are shares."""
        end, signals = super().one(at, **changes)
        if valid is not None:
            signals = replace(signals, json_valid=bool(self.rng.random() < valid))
        if spam is not None:
            word = "spam" if self.rng.random() < spam else "ham"
            confidence = float(self.rng.beta(8, 2))
            signals = replace(signals, prediction=word, confidence=confidence)
        return end, signals


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty prediction log."""
    opened = open_empty_log(tmp_path, now_us=lambda: NOW)
    yield opened
    opened.close()


def test_fewer_valid_answers_are_drift(database: Database) -> None:
    """JSON that no longer follows its schema is told, and nothing beside it."""
    traffic = JsonTraffic(database)
    traffic.write(3000, REFERENCE, valid=0.99)
    traffic.write(400, LAST_HOUR, valid=0.9)
    verdicts = Watch(database).look()
    assert [name for name, found in verdicts.items() if found == "drift"] == ["json_valid"]
    assert OPTIONAL & verdicts.keys() == {"json_valid", "cache"}


def test_another_mix_of_classes_is_drift(database: Database) -> None:
    """What a predictive model answers is watched as its inputs are."""
    traffic = JsonTraffic(database)
    traffic.write(3000, REFERENCE, spam=0.1)
    traffic.write(400, LAST_HOUR, spam=0.4)
    verdicts = Watch(database).look()
    assert [name for name, found in verdicts.items() if found == "drift"] == ["prediction"]
    assert verdicts["confidence"] == "ok"
    assert "prediction_value" not in verdicts


def test_what_the_baseline_never_saw_is_told(database: Database) -> None:
    """A signal that comes up has nothing to be compared with, and says so."""
    traffic = JsonTraffic(database)
    traffic.write(3000, REFERENCE)
    traffic.write(400, LAST_HOUR, valid=0.9)
    assert Watch(database).look()["json_valid"] == "not_enough_data"
