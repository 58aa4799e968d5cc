from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.reference_log import DAY_US, HOUR_US, MONDAY, Rows, spread

from monitors.baselines import Reference, from_columns, read_references
from monitors.config import MonitorsConfig
from monitors.errors import BaselineInvalid
from monitors.references.making import Period, make
from monitors.references.stored import MOST_FEATURES, hour_of_week
from monitors.references.training import Training, from_training
from monitors.windows import Window
from stats.categories import CategoryCells
from stats.cells import NumericCells
from storage.records import Baseline
from storage.repository import Repository
from storage.training import open_training

WEEKS = Window(MONDAY, MONDAY + 14 * DAY_US)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return an empty log."""
    database = open_empty_log(tmp_path, now_us=lambda: MONDAY)
    yield Repository(database)
    database.close()


def made(
    repository: Repository, options: dict[str, Any] | None = None, **period: Any
) -> dict[str, Reference]:
    """Make a baseline of two weeks of `chat`; return its references."""
    config = MonitorsConfig.model_validate(options or {})
    wanted = Period("default", "chat", WEEKS, {"kind": "period"}, **period)
    return read_references(make(repository, config, wanted, WEEKS.to_us))


def test_each_segment_has_its_counts(repository: Repository) -> None:
    """Of its own rows over the same cells; a row without a value is in no segment."""
    times = spread(300, *WEEKS_OF)
    Rows(repository).write(
        {
            "started_at": at,
            "variant": "a" if i % 3 else "b",
            "version": None if i % 2 else "v1",
            "tags": ("red", "big") if i % 2 else ("red",),
        }
        for i, at in enumerate(times)
    )
    reference = made(repository, {"segments": ["variant", "version", "tag"]})["latency_s"]
    rows = {name: int(counts.sum()) for name, counts in reference.segments.items()}
    assert rows == {
        "variant=a": 200,
        "variant=b": 100,
        "version=v1": 150,
        "tag=red": 300,
        "tag=big": 150,
    }
    both = reference.segments["variant=a"] + reference.segments["variant=b"]
    assert both.tolist() == reference.counts.tolist()


WEEKS_OF = (WEEKS.from_us, WEEKS.to_us)


def test_twenty_values_of_a_key_are_told_apart(repository: Repository) -> None:
    """The most frequent ones; the rows of others are together, also in a category's counts."""
    times = spread(500, *WEEKS_OF)
    Rows(repository).write(
        {"started_at": at, "tenant": f"t{min(i % 40, 24):02}"} for i, at in enumerate(times)
    )
    reference = made(repository, {"segments": ["tenant"]})["language"]
    assert len(reference.segments) == 21
    total = sum(int(counts.sum()) for counts in reference.segments.values())
    assert (total, int(reference.segments["tenant=(other)"].sum())) == (500, 13 + 4 * 12)
    assert "tenant=t24" in reference.segments


def test_hours_of_the_week_are_counted_apart(repository: Repository) -> None:
    """Row 0 is Monday from midnight; the hours add up to all rows."""
    Rows(repository).write(
        {"started_at": at, "latency_s": 1.0 + (at // HOUR_US) % 24}
        for at in spread(2 * 336, *WEEKS_OF)
    )
    reference = made(repository, seasonal=True)["latency_s"]
    assert reference.hours is not None
    assert reference.hours.sum(axis=0).tolist() == reference.counts.tolist()
    assert reference.hours.sum(axis=1).tolist() == [4] * 168
    tuesday_3 = MONDAY + 27 * HOUR_US
    assert hour_of_week(tuesday_3) == 27
    cell = reference.cells.count([4.0])
    assert (reference.hours[27] > 0).tolist() == (cell > 0).tolist()


def test_a_season_needs_two_weeks_of_rows(repository: Repository) -> None:
    """A long period with a day of rows says nothing of the other hours."""
    Rows(repository).write({"started_at": at} for at in spread(100, MONDAY, MONDAY + DAY_US))
    with pytest.raises(BaselineInvalid, match=r"two weeks of them: choose a longer"):
        made(repository, seasonal=True)


def test_another_variant_is_the_reference_of_each(repository: Repository) -> None:
    """Also of one that comes later: canary against stable."""
    Rows(repository).write(
        {
            "started_at": at,
            "variant": "canary" if i % 4 == 0 else "stable",
            "latency_s": 9.0 if i % 4 == 0 else 1.0 + i % 7,
        }
        for i, at in enumerate(spread(400, *WEEKS_OF))
    )
    reference = made(repository, variant="stable")["latency_s"]
    assert reference.rows == 300
    for name in ("variant=canary", "variant=stable", "variant=(other)"):
        assert reference.segments[name].tolist() == reference.counts.tolist()


def test_inputs_of_models_are_features(repository: Repository) -> None:
    """Numbers by their type, texts and flags as categories."""
    Rows(repository).write(
        {
            "started_at": at,
            "protocol": "other",
            "inputs": [{"age": 20 + i % 50, "plan": "pro" if i % 3 else "basic", "old": i > 50}],
        }
        for i, at in enumerate(spread(200, *WEEKS_OF))
    )
    references = made(repository)
    kinds = {name: r.kind for name, r in references.items() if name.startswith("input.")}
    assert kinds == {
        "input.age": "numeric",
        "input.old": "categorical",
        "input.plan": "categorical",
    }
    plan, age = references["input.plan"], references["input.age"]
    assert dict(zip(plan.cells.labels(), plan.counts.tolist(), strict=True))["pro"] == 133
    assert (age.rows, int(age.counts.sum())) == (200, 200)
    assert sum(int(counts.sum()) for counts in age.segments.values()) == 200


def test_a_short_training_file_shows_that_its_rows_hang_together(tmp_path: Path) -> None:
    """A thousand days of weather are fewer than as many rows: seasons count for less."""
    path = tmp_path / "days.csv"
    rng = np.random.default_rng(5)
    days = np.arange(1_000)
    season = np.sin(days * 2.0 * np.pi / 365.0) + rng.normal(0.0, 0.3, days.size)
    chance = rng.normal(0.0, 1.0, days.size)
    lines = [f"{a},{b}" for a, b in zip(season.tolist(), chance.tolist(), strict=True)]
    path.write_text("\n".join(["season,chance", *lines]))
    with open_training(path) as file:
        built = from_training(file, Training("default", "chat", path.name, {}), MONDAY)
    references = read_references(built.baseline)
    assert references["input.season"].dispersion > 10.0
    assert references["input.chance"].dispersion < 2.0


def trained(path: Path, *columns: str) -> dict[str, Reference]:
    """Write lines of a CSV a hundred times each; return the references that they become."""
    path.write_text("\n".join([columns[0], *(columns[1:] * 100)]))
    with open_training(path) as file:
        built = from_training(file, Training("default", "churn", path.name, {}), MONDAY)
    assert not built.left_out
    return read_references(built.baseline)


def test_whole_numbers_of_a_training_file_are_classes(tmp_path: Path) -> None:
    """`prediction` as 0 and 1, with gaps as 0.0 and 1.0, is what a model's 0 and 1 are beside."""
    for lines in (("0,a", "1,a", ",b"), ("0.0,a", "1.0,a", ",b")):
        found = trained(tmp_path / "train.csv", "prediction,x", *lines)["prediction"]
        counted = dict(zip(found.cells.labels(), found.counts.tolist(), strict=True))
        assert (counted["0"], counted["1"], counted["missing"], found.rows) == (100, 100, 100, 300)


@pytest.mark.parametrize("value", ["0.5", "1000"])
def test_other_numbers_of_a_training_file_are_predicted_values(tmp_path: Path, value: str) -> None:
    """A regression's `prediction` is compared as the number that it is."""
    found = trained(tmp_path / "train.csv", "prediction,x", "1,a", f"{value},b")
    assert sorted(found) == ["input.x", "prediction_value"]


def test_predictions_of_a_frame_are_classes_or_values() -> None:
    """As those of a file: 1.0 beside a gap is class 1, other numbers are values."""
    classes = read_references(from_columns({"prediction": [1.0, 0.0, None] * 100}, "churn", 1))
    assert classes["prediction"].cells.labels()[:2] == ("0", "1")
    values = read_references(from_columns({"prediction": np.arange(300) / 7}, "churn", 1))
    assert list(values) == ["prediction_value"]
    with pytest.raises(BaselineInvalid, match="one feature"):
        from_columns({"prediction": [0.5], "prediction_value": [1.0]}, "churn", 1)


def test_few_values_have_a_cell_each_unless_declared_continuous(repository: Repository) -> None:
    """Values that repeat are discrete; what the configuration says goes first."""
    Rows(repository).write(
        {"started_at": at, "prompt_tokens": 10 * (i % 15)}
        for i, at in enumerate(spread(600, *WEEKS_OF))
    )
    cells = made(repository)["prompt_tokens"].cells
    assert isinstance(cells, NumericCells)
    assert sum(label.startswith("exactly") for label in cells.labels()) == 15
    declared = {"features": {"prompt_tokens": {"discrete": False}}}
    coarse = made(repository, declared)["prompt_tokens"].cells
    assert not any(label.startswith("exactly") for label in coarse.labels())


def test_rows_of_a_user_that_are_alike_count_for_less(repository: Repository) -> None:
    """The named key shows the dependence, and independent rows have none."""
    rng = np.random.default_rng(3)
    users = rng.lognormal(0.0, 0.5, 300)
    Rows(repository).write(
        {
            "started_at": at,
            "user_key": f"u{i // 10}",
            "latency_s": float(users[i // 10] * rng.lognormal(0.0, 0.1)),
            "ttft_s": float(rng.lognormal(0.0, 0.5)),
        }
        for i, at in enumerate(spread(3000, MONDAY, MONDAY + 3000 * 2_000_000))
    )
    references = made(repository, {"dependence": {"key": "user"}})
    assert references["latency_s"].dispersion > 4.0
    assert references["ttft_s"].dispersion < 1.5


def test_names_are_no_new_categories() -> None:
    """Where most values are new already, a new one is no news; elsewhere it is."""
    columns = {"id": [f"customer {i}" for i in range(500)], "plan": ["a", "b"] * 250}
    references = read_references(from_columns(columns, "churn", 1_000_000))
    ids, plan = references["input.id"].cells, references["input.plan"].cells
    assert isinstance(ids, CategoryCells)
    assert isinstance(plan, CategoryCells)
    assert (ids.count(["customer 999"])[ids.new], plan.count(["c"])[plan.new]) == (0, 1)
    assert (references["input.id"].singles, references["input.plan"].singles) == (500, 0)


class Frame:
    """What a DataFrame shows of itself."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def items(self) -> Any:
        """Return names and columns."""
        return self.columns.items()


class NAType:
    """Stands for pandas' NA, by its name."""


def test_columns_in_memory_make_a_baseline() -> None:
    """Any mapping of arrays: signals by name, everything else an input, NA is missing."""
    frame = Frame(
        latency_s=np.linspace(0.1, 1.0, 100),
        age=[None if i % 10 == 0 else float(i) for i in range(100)],
        plan=np.array([NAType() if i % 4 == 0 else "pro" for i in range(100)], dtype=object),
        active=np.arange(100) % 2 == 0,
    )
    built = from_columns(frame, "churn", 1_000_000, name="train")
    references = read_references(built)
    assert set(references) == {"latency_s", "input.age", "input.plan", "input.active"}
    assert (built.name, built.rows, built.source) == ("train", 100, {"kind": "columns"})
    assert int(references["input.age"].counts[-1]) == 10
    assert int(references["input.plan"].counts[-1]) == 25
    assert references["input.active"].cells.labels()[:2] == ("false", "true")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1.0] * 20, "b": [1.0] * 19}, "all of the same length"),
        ({f"c{i}": [1.0] * 20 for i in range(MOST_FEATURES + 1)}, "at most 250"),
        ({"a": [None] * 20}, "can be used"),
        ({}, "can be used"),
        ({"a": np.zeros((5, 2))}, "give one value for a row"),
    ],
)
def test_columns_that_make_none_are_refused(columns: Any, said: str) -> None:
    """With the way out, whatever comes."""
    with pytest.raises(BaselineInvalid, match=said):
        from_columns(columns, "churn", 1_000_000)


def test_a_baseline_of_before_reads_as_before() -> None:
    """Stored forms that say nothing of segments, hours and dispersion have none of them."""
    cells = {
        "kind": "categorical", "top": ["en"], "rest": [], "complete": True
    }  # fmt: skip
    old = Baseline("week", 1, 5, 0, 9, "chat", 3, {"language": {
        "rows": 3, "cells": cells, "counts": [3, 0, 0, 0],
    }})  # fmt: skip
    reference = read_references(old)["language"]
    assert (reference.segments, reference.hours, reference.dispersion) == ({}, None, 1.0)


@pytest.mark.parametrize(
    "broken",
    [
        {"segments": {"variant=a": [1]}},
        {"segments": [1]},
        {"hours": {"168": [3, 0, 0, 0]}},
        {"hours": {"0": [3]}},
        {"dispersion": "much"},
    ],
)
def test_broken_parts_are_named(broken: dict[str, object]) -> None:
    """What was tampered with is never compared."""
    stored = {"rows": 3, "counts": [3, 0, 0, 0], "cells": {
        "kind": "categorical", "top": ["en"], "rest": [], "complete": True,
    }}  # fmt: skip
    old = Baseline("week", 1, 5, 0, 9, "chat", 3, {"language": {**stored, **broken}})
    with pytest.raises(BaselineInvalid, match="cannot be read"):
        read_references(old)
