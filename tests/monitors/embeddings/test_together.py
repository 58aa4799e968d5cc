from typing import Any

import pytest

from monitors.alerts.dedup import step
from monitors.embeddings.names import direction_name, finding_of, group_of, norm_name
from monitors.episodes import Change, episodes
from monitors.quality.schemas import schema_verdict
from monitors.quality.verdicts import Look
from monitors.shock import marked
from storage.features.changes import SchemaChange
from storage.features.schema import Field
from storage.reader import Window
from storage.records import Verdict

AT = 1_792_800_000_000_000
DAY_US = 86_400_000_000
PARTS = tuple(f"input.{direction_name('prompt_embedding', n)}" for n in range(16))
NORM = f"input.{norm_name('prompt_embedding')}"
OTHERS = ("latency_s", "prompt_chars", "response_chars", "error")


def verdict(feature: str, *, drifted: bool, value: float = 0.1, **facts: Any) -> Verdict:
    """Return a verdict of a look."""
    details = {"open": drifted, "onset_at": AT - 10, "cause": "the median went from 0 to 1"}
    return Verdict(
        id=feature,
        at=AT,
        monitor="drift",
        route="chat",
        feature=feature,
        kind="numeric",
        verdict="drift" if drifted else "ok",
        severity=facts.pop("severity", "warning" if drifted else "none"),
        statistic="psi",
        value=value,
        low=0.0,
        high=1.0,
        threshold=0.01,
        n_reference=5_000,
        n_current=600,
        window_from=AT - 1,
        window_to=AT,
        baseline="b@1",
        details={**details, **facts},
    )


def look(moved: int, *, norm: bool = False, others: int = 0) -> list[Verdict]:
    """Return a look in which some parts of an embedding and some other features drift."""
    parts = [verdict(name, drifted=n < moved, value=n / 10) for n, name in enumerate(PARTS)]
    rest = [verdict(name, drifted=n < others) for n, name in enumerate(OTHERS)]
    return [*parts, verdict(NORM, drifted=norm), *rest]


def opened(verdicts: list[Verdict]) -> Change:
    """Return the one change that a look opens."""
    (change,) = episodes({}, marked(verdicts, {}))
    return change


def told_of(change: Change) -> dict[str, Any]:
    """Return the one feature of a digest."""
    features = change.data["features"]
    assert isinstance(features, list)
    (one,) = features
    assert isinstance(one, dict)
    return one


def test_parts_that_drift_are_one_finding() -> None:
    """A reader is told of the embedding, and of how much of it moved."""
    change = opened(look(11))
    assert "`prompt_embedding` PSI 1 (n = 600): 11 of 16 directions moved" in change.summary
    assert "d0" not in change.summary
    assert (change.data["features_drifted"], change.data["features_watched"]) == (1, 5)
    assert change.data["drifted"] == ["prompt_embedding"]
    told = told_of(change)
    assert told["feature"] == "prompt_embedding"
    assert told["directions"] == [f"d{n:02d}" for n in range(11)]


@pytest.mark.parametrize(
    ("moved", "words"),
    [(0, "the length moved"), (2, "2 of 16 directions moved and the length moved")],
)
def test_a_length_that_moved_is_told(moved: int, words: str) -> None:
    """A model that no longer normalises is no other direction."""
    assert words in opened(look(moved, norm=True)).summary


def test_an_embedding_alone_is_no_common_shock() -> None:
    """Sixteen directions of one text are one thing that moved; with half of the rest they are."""
    assert "common_shock" not in opened(look(16, norm=True)).data
    shock = opened(look(16, others=2)).data
    assert shock["common_shock"] is True
    assert shock["movers"] == ["prompt_embedding", "latency_s", "prompt_chars"]


def test_further_directions_are_no_news() -> None:
    """An episode that told of the embedding is not told again for each direction that joins."""
    first = step(opened(look(3)), None, AT, "a")
    assert first is not None
    later = step(opened(look(9)), first.alert, AT + 1, "b")
    assert later is not None
    assert later.event is None
    joined = step(opened(look(9, others=1)), later.alert, AT + 2, "c")
    assert joined is not None
    assert joined.event == "drift.escalated"
    assert joined.alert.data["joined"] == ["latency_s"]


def test_the_worst_part_and_the_first_onset_count() -> None:
    """A critical part makes the finding critical; it began when its first part did."""
    parts = [
        verdict(PARTS[0], drifted=True, value=0.3, severity="critical"),
        verdict(PARTS[1], drifted=True, value=0.5, onset_at=AT - DAY_US),
    ]
    change = opened(parts)
    assert change.severity == "critical"
    told = told_of(change)
    assert (told["severity"], told["value"]) == ("critical", 0.5)
    assert told["onset_at"] < told_of(opened(parts[:1]))["onset_at"]


def test_only_ours_are_parts_of_an_embedding() -> None:
    """A vector that a predictive model is asked with has features of its own."""
    assert group_of("input.embedding.d03") == "embedding"
    assert group_of("input.answer_embedding.norm") == "answer_embedding"
    for name in ("input.embedding.3", "input.embedding.12", "embedding.d03", "latency_s"):
        assert finding_of(name) == name


def test_embeddings_that_are_switched_on_are_no_change_of_inputs() -> None:
    """Quality tells of inputs that clients send, not of those that we compute."""
    kept = [Field("age", "DOUBLE", "age")]
    new = (*kept, Field("prompt_embedding.d00", "DOUBLE", "prompt_embedding_d00"))
    before = frozenset((field.name, field.kind) for field in kept)
    window = Window(AT - DAY_US, AT)
    at = Look(AT, "chat", window, "b@1", 3)
    changed = SchemaChange("m", 2, AT - 1, AT - 3 * DAY_US, ("chat",), new[1:], before)
    assert schema_verdict(at, [changed], None).verdict == "ok"
