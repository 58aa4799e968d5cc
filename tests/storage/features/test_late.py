"""Inputs that come in later than their prediction are counted as if they had come with it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.log_records import NOW, end_of, id_of, now_us

from storage.database import Database
from storage.late import LateInputs, add_late_inputs
from storage.lifecycle.tombstones import add_tombstones
from storage.new_rows import Among
from storage.reader import Scope, Window
from storage.records import Baseline, End, InputRow, Signals
from storage.repository import Repository
from storage.rollups.rebuild import rebuild_days
from storage.times import HOUR_US
from storage.writer import Batch

HOUR = NOW - NOW % HOUR_US
WINDOW = Window(NOW, NOW + 1_000)
PART = "input.prompt_embedding.d00"
BASELINE = Baseline(
    "b",
    1,
    NOW,
    NOW,
    NOW,
    "chat",
    9,
    {
        PART: {"cells": {"edges": [0.0, 1.0]}, "segments": {"variant=new": [1], "version=v2": [1]}},
        "latency_s": {"cells": {"edges": [0.0]}, "segments": {"variant=new": [1]}},
    },
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = Database.open(tmp_path, now_us=now_us)
    yield database
    database.close()


def chat(number: int) -> End:
    """Return a chat, every other one of another variant and version."""
    of: Any = {"variant": "new", "version": "v2"} if number % 2 else {}
    return end_of(number, text=False, **of)


def row(number: int) -> InputRow:
    """Return what its prompt is watched as."""
    return {"prompt_embedding.d00": number - 1.5, "prompt_embedding.norm": 1.0}


def write(log: Repository, ends: Sequence[End], inputs: Sequence[Sequence[InputRow]]) -> None:
    """Write a batch of chats."""
    said = [Signals(end.prediction.id, inputs=one) for end, one in zip(ends, inputs, strict=True)]
    log.append(Batch(ends, said, (), (), ()), now_us=NOW)


def add(database: Database, ends: Sequence[End], numbers: Sequence[int]) -> int:
    """Add the inputs of some chats that were written before."""
    given = [LateInputs(ends[number].prediction, row(number)) for number in numbers]
    with database.cursor() as connection:
        return add_late_inputs(connection, given, now_us=NOW)


def counted(log: Repository) -> list[str]:
    """Return everything that monitors read of the inputs over a window."""
    whole = Scope(Window(HOUR, HOUR + HOUR_US), "chat")
    found: list[object] = [
        log.cells(scope, "b@1", segment=segment)
        for scope in (whole, whole._replace(window=WINDOW))
        for segment in ("", "variant=new", "version=v2")
    ]
    found += [log.values(whole, [PART]), log.values(whole, [PART], exact=True)]
    found += [log.ids_in(whole, PART, Among(0.0, 1.0))]
    return list(map(repr, found))


def test_late_inputs_are_counted_as_if_they_were_not(database: Database, tmp_path: Path) -> None:
    """Cells, segments, buckets and ids are those of a log where all came at once."""
    ends = [chat(number) for number in range(4)]
    log = Repository(database)
    log.save_baseline(BASELINE)
    write(log, ends, [[]] * 4)
    assert add(database, ends, [0, 1, 2, 3]) == 4
    (tmp_path / "other").mkdir()
    other = Database.open(tmp_path / "other", now_us=now_us)
    at_once = Repository(other)
    at_once.save_baseline(BASELINE)
    write(at_once, ends, [[row(number)] for number in range(4)])
    assert counted(log) == counted(at_once)
    assert log.cells(Scope(WINDOW, "chat"), "b@1", segment="variant=new")[PART] == {0: 1, 2: 1}
    with database.cursor() as cursor:
        rebuild_days(cursor, HOUR, HOUR + HOUR_US)
    assert counted(log) == counted(at_once)
    other.close()


def test_a_look_meets_late_inputs_once_with_their_keys(database: Database) -> None:
    """They belong to the batch that brought them; requests are not met again."""
    ends = [chat(number) for number in range(4)]
    log = Repository(database)
    write(log, ends, [[]] * 4)
    add(database, ends, [1, 2])
    write(log, [chat(7)], [[]])
    found = log.rows_after("chat", [PART, "latency_s"], 1, keys=["variant", "version"])
    assert found.batch == 3
    assert (found.requests.started_at - NOW).tolist() == [7]
    np.testing.assert_equal(found.inputs.columns[PART], [-0.5, 0.5])
    assert found.inputs.keys == {"variant": ["new", "primary"], "version": ["v2", None]}
    later = log.rows_after("chat", [PART], 2, keys=["variant"])
    assert later.inputs.started_at.size == 0


def test_of_the_forgotten_nothing_is_kept(database: Database) -> None:
    """Who was forgotten between a look at the text and its embedding stays forgotten."""
    ends = [chat(number) for number in range(2)]
    write(Repository(database), ends, [[]] * 2)
    with database.cursor() as connection:
        add_tombstones(connection, [], [id_of(0)], NOW)
    assert add(database, ends, [0]) == 0
    assert add(database, ends, [0, 1]) == 1
    with database.cursor() as connection:
        kept = connection.execute("SELECT prediction_id::VARCHAR FROM features_m_2_1").fetchall()
    assert kept == [(id_of(1),)]
