"""Prompts that change their topic are drift of their embeddings, and nothing else is."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support.empty_log import open_empty_log
from support.watched_traffic import NOW, REFERENCE, STEP_US, Traffic, Watch, reference_traffic
from support.word_vectors import text_of, vector_of

from gateway.embeddings import Projector
from monitors.embeddings.names import Group, group_of
from monitors.episodes import episodes
from monitors.explain.build import build_explanations, build_state
from monitors.explain.state import DriftQuery
from monitors.explain.text import Terminal, render_state
from monitors.signals.table import SIGNALS
from monitors.windows import Window
from storage.repository import Repository
from storage.writer import Batch

ROWS = 120
USUAL = ("cooking", "travel", "code")
GROUP: Group = "prompt_embedding"


class Prompts:
    """Traffic whose prompts are embedded; numbers that tell lengths do not depend on them."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.log = Repository(traffic.database)
        self.draws = random.Random(5)
        self.projector = Projector()

    def write(self, rows: int, window: Window, topics: tuple[str, ...] = USUAL) -> None:
        """Write predictions about some topics."""
        ends, signals = [], []
        for at in (
            np.linspace(window.from_us, window.to_us, rows, endpoint=False)
            .astype(np.int64)
            .tolist()
        ):
            end, signal = self.traffic.one(at)
            row = self.projector.row(vector_of(text_of(topics, self.draws)), GROUP)
            ends.append(end)
            signals.append(replace(signal, inputs=[row]))
        self.log.append(Batch(ends, signals, (), (), ()), now_us=NOW)


@pytest.fixture
def prompts(tmp_path: Path) -> Iterator[Prompts]:
    """Return traffic with a reference day."""
    database = open_empty_log(tmp_path, now_us=lambda: NOW)
    made = Prompts(Traffic(database))
    made.write(1_500, REFERENCE)
    yield made
    database.close()


def test_another_topic_is_drift_of_the_embedding_alone(prompts: Prompts) -> None:
    """Five looks at the usual topics say nothing; a fourth of law is found within the hour."""
    lengths = {"prompt_chars", "response_chars"}
    off = {one.name: {"enabled": False} for one in SIGNALS if one.name not in lengths}
    watch = Watch(prompts.traffic.database, features=off)
    watch.look(NOW)
    for step in range(5):
        prompts.write(ROWS, Window(NOW + step * STEP_US, NOW + (step + 1) * STEP_US))
        assert "drift" not in watch.look(NOW + (step + 1) * STEP_US).values()
    for step in range(5, 12):
        span = Window(NOW + step * STEP_US, NOW + (step + 1) * STEP_US)
        prompts.write(ROWS, span, (*USUAL, "law"))
        found = watch.look(span.to_us)
        if "drift" in found.values():
            break
    drifted = {group_of(name) for name, word in found.items() if word == "drift"}
    assert drifted == {GROUP}
    (change,) = episodes({}, watch.received[-1])
    assert "of 16 directions moved" in change.summary
    assert change.data["features_drifted"] == 1
    show_it(prompts.log, watch, span.to_us + 1)


def show_it(log: Repository, watch: Watch, now_us: int) -> None:
    """Check what commands say: one explanation, also by the name that the alert has."""
    query = DriftQuery(Window(NOW, now_us), "chat", GROUP)
    for asked in (query, query._replace(feature=None)):
        (one,) = build_explanations(log, asked, watch.config, now_us).explanations
        assert (group_of(one.feature), one.verdict) == (GROUP, "drift")
    assert not any(group_of(other.feature) for other in one.related)
    terminal = Terminal(160)
    parts = build_state(log, query, watch.config, now_us)
    assert render_state(parts, terminal).count(f"input.{GROUP}.") == 17
    whole = build_state(log, query._replace(feature=None), watch.config, now_us)
    table = render_state(whole, terminal)
    assert f"quiet directions of `{GROUP}` are not listed: `--feature {GROUP}`" in table
    assert 1 <= table.count(f"input.{GROUP}.") < 17


def test_a_baseline_without_embeddings_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log from before they were switched on is watched as it was; what it lacks is said once."""
    traffic = reference_traffic(tmp_path, (1_000, "primary"))
    made = Prompts(traffic)
    watch = Watch(traffic.database, embeddings={"chat": {"by": "embed"}})
    before = watch.look(NOW)
    made.write(100, Window(NOW, NOW + STEP_US))
    assert watch.look(NOW + STEP_US).keys() == before.keys()
    traffic.database.close()
    said = [record.getMessage() for record in caplog.records]
    assert sum("was made before its texts were embedded" in one for one in said) == 1
