from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.reference_log import MONDAY, Rows, spread
from support.report_log import opened
from support.watched_traffic import (
    DAY_US,
    HOUR_US,
    NOW,
    REFERENCE,
    STEP_US,
    Traffic,
    Watch,
    reference_traffic,
)

from monitors.config import MonitorsConfig
from monitors.episodes import digest
from monitors.errors import NoBaseline
from monitors.explain.build import build_explanations, build_state
from monitors.explain.model import DriftExplained, Explanation
from monitors.explain.state import DriftQuery
from monitors.explain.text import Terminal, render_explained, render_state
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.database import Database
from storage.repository import Repository

ROWS = 600
SLOTS = 24
CHANGED = NOW + 12 * STEP_US
END = NOW + SLOTS * STEP_US
QUERY = DriftQuery(Window(NOW, END))


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    """Return traffic with a reference day of two variants."""
    made = reference_traffic(tmp_path, (ROWS, "primary"), (ROWS // 4, "candidate"), now_us=END)
    yield made
    made.database.close()


@pytest.fixture
def database(traffic: Traffic) -> Database:
    """Return the log of the traffic."""
    return traffic.database


def explained(watch: Watch, feature: str, **asked: Any) -> Explanation:
    """Set the baseline and explain one feature of two hours."""
    watch.look(NOW)
    query = QUERY._replace(feature=feature, **asked)
    (found,) = build_explanations(watch.repository, query, watch.config, END).explanations
    return found


def test_a_shift_in_one_variant_is_attributed_to_it(database: Database, traffic: Traffic) -> None:
    """Within candidate, since the slot in which it began, not in the mix."""
    traffic.write(600, Window(NOW, END))
    traffic.write(130, Window(NOW, CHANGED), variant="candidate")
    traffic.write(130, Window(CHANGED, END), variant="candidate", longer=4.0)
    watch = Watch(database)
    found = explained(watch, "prompt_chars")
    first = found.carriers[0]
    assert (first.kind, first.segment) == ("within", "variant=candidate")
    assert first.share > 0.7 > 2 * first.weight
    assert found.onset.at is not None
    assert abs(found.onset.at - CHANGED) <= STEP_US
    assert not found.onset.before
    assert any("`variant=candidate` carries" in cause.text for cause in found.causes)
    alone = explained(watch, "prompt_chars", segment="variant=candidate")
    assert alone.n_reference == ROWS // 4
    assert alone.now.from_us == CHANGED
    assert alone.n_current == 130
    assert {effect.name for effect in alone.effects} >= {"psi", "missing_change"}
    (whole,) = watch.repository.load_baselines("chat")
    source = {**whole.source, "variant": "primary"}
    stable = msgspec.structs.replace(whole, name="stable", source=source)
    watch.repository.add_baseline(stable)
    beside = explained(watch, "prompt_chars", baseline="stable")
    (split,) = [split for split in beside.splits if split.key == "variant"]
    assert split.mix == pytest.approx(0.0)
    assert split.parts[0].segment == "variant=candidate"


def test_a_shift_of_the_mix_is_said_to_be_mix(database: Database, traffic: Traffic) -> None:
    """Candidate writes more German and always did: it only has more of the traffic."""
    traffic.write(150, REFERENCE, variant="candidate", german=0.9)
    traffic.write(400, Window(NOW, END), german=0.1)
    traffic.write(40, Window(NOW, CHANGED), variant="candidate", german=0.5)
    traffic.write(400, Window(CHANGED, END), variant="candidate", german=0.5)
    found = explained(Watch(database), "language")
    first = found.carriers[0]
    assert (first.kind, first.segment.partition("=")[0]) == ("mix", "variant")
    (split,) = [split for split in found.splits if split.key == "variant"]
    assert split.mix > 0.8 * split.total
    assert split.within + split.mix == pytest.approx(split.total)
    assert any("variant `candidate` went from" in cause.text for cause in found.causes)


def test_a_change_of_unit_is_named(database: Database, traffic: Traffic) -> None:
    """A thousand times the characters; the cause is first, the histogram has the new end."""
    traffic.write(500, Window(NOW, CHANGED))
    traffic.write(500, Window(CHANGED, END), longer=1_000.0)
    found = explained(Watch(database), "prompt_chars")
    assert found.causes[0].kind == "unit"
    assert "1000 times" in found.cause
    assert found.movers[0].cell.startswith("from ")
    assert found.histogram[-1].reference == 0 < found.histogram[-1].current


def test_examples_lie_in_the_cell_that_grew_most(database: Database, traffic: Traffic) -> None:
    """Every one of them speaks German, and is of the hour since."""
    traffic.write(400, Window(NOW, CHANGED))
    traffic.write(400, Window(CHANGED, END), german=0.9)
    watch = Watch(database)
    found = explained(watch, "language")
    assert found.movers[0].cell == "de"
    assert len(found.examples) == 5
    for prediction_id in found.examples:
        record = watch.repository.record(prediction_id)
        assert record is not None
        assert record["language"] == "de"
        assert record["started_at"] >= CHANGED


def test_single_rows_are_tested_on_request(database: Database, traffic: Traffic) -> None:
    """Exact statistics of the feature, and what tells the windows apart."""
    traffic.write(400, Window(CHANGED, END), longer=3.0)
    watch = Watch(database)
    found = explained(watch, "prompt_chars", deep=True).deep
    assert found is not None
    assert [test.name for test in found.tests] == [
        "ks",
        "wasserstein",
        "cramer_von_mises",
        "anderson_darling",
        "energy",
    ]
    assert found.tests[0].p_value is not None
    assert found.tests[0].p_value < 1e-9
    assert found.classifier is not None
    assert found.classifier.value > 0.7
    assert found.carries[0][0] in {"prompt_chars", "prompt_tokens"}
    assert explained(watch, "latency_s").deep is None


def test_what_drifts_is_explained_with_what_moved_beside_it(
    database: Database, traffic: Traffic
) -> None:
    """Characters and tokens open in one hour: each names the other; the alert says who carries."""
    watch = Watch(database)
    watch.look(NOW)
    traffic.write(300, Window(NOW, END))
    traffic.write(300, Window(NOW, END), variant="candidate", longer=3.0)
    watch.look(END)
    query = QUERY._replace(window=Window(NOW, END + 1))
    found = build_explanations(watch.repository, query, watch.config, END)
    assert {one.feature for one in found.explanations} == {"prompt_chars", "prompt_tokens"}
    (chars,) = [one for one in found.explanations if one.feature == "prompt_chars"]
    assert chars.segment == ""
    assert ("prompt_tokens", "") in {(other.feature, other.segment) for other in chars.related}
    assert msgspec.json.decode(msgspec.json.encode(found), type=DriftExplained) == found
    text = render_explained(found, Terminal(100))
    assert max(map(len, text.splitlines())) <= 110
    assert render_explained(found, Terminal(100, unicode=False)).isascii()
    state = build_state(watch.repository, query, watch.config, END)
    first = state.streams[0]
    assert (first.verdict, first.n_reference, first.n_current) == ("drift", ROWS * 5 // 4, 300)
    assert first.feature in {"prompt_chars", "prompt_tokens"}
    assert first.opened_at == END
    whole = [digest(v) for v in watch.received[-1] if v.verdict == "drift" and not v.segment]
    assert all("`variant=candidate` carries" in str(told["carried_by"]) for told in whole)
    assert len(whole) == 2
    watched = [one for one in state.streams if one.segment and one.verdict == "watched"]
    assert {one.segment for one in watched} == {"variant=primary", "variant=candidate"}
    fed = [one for one in watched if one.segment == "variant=primary"]
    assert all(one.evidence_share is not None for one in fed)
    table = render_state(state, Terminal(160))
    assert table.index("prompt_chars") < table.index("language")


def test_expired_rows_leave_counts_and_kept_segments(database: Database, traffic: Traffic) -> None:
    """Onset, movers and segments still come from the roll-ups; examples do not."""
    watch = Watch(database)
    watch.look(NOW)
    traffic.write(500, Window(NOW, CHANGED))
    traffic.write(300, Window(CHANGED, END), german=0.9)
    traffic.write(10, Window(END + 2 * HOUR_US, END + 3 * HOUR_US))
    with database.cursor() as connection:
        connection.execute("DELETE FROM predictions WHERE epoch_us(started_at) < ?", [END])
        connection.execute("UPDATE log_state SET value = ? WHERE name = 'facts_from'", [END])
    found = explained(watch, "language")
    assert found.movers[0].cell == "de"
    assert found.onset.at is not None
    assert abs(found.onset.at - CHANGED) <= STEP_US
    assert [split.key for split in found.splits] == ["variant"]
    assert found.examples == ()
    assert any("expired" in note for note in found.notes)


def test_nothing_to_compare_with_is_refused(database: Database, traffic: Traffic) -> None:
    """No baseline, then no such feature: each says what there is."""
    watch = Watch(database, baseline=None)
    query = QUERY._replace(feature="prompt_chars")
    with pytest.raises(NoBaseline, match="monitor baseline set"):
        build_explanations(watch.repository, query, watch.config, END)
    watch = Watch(database)
    watch.look(NOW)
    with pytest.raises(NoBaseline, match="prompt_tokens"):
        build_explanations(
            watch.repository, QUERY._replace(feature="prompt_char"), watch.config, END
        )
    traffic.write(200, Window(NOW, END))
    watch.look(END)
    query = QUERY._replace(window=Window(NOW, END + 1))
    nothing = build_explanations(watch.repository, query, watch.config, END)
    assert nothing.explanations == ()
    assert "nothing drifts" in nothing.notes[0]


def test_inputs_of_models_are_explained(tmp_path: Path) -> None:
    """Rows of inputs belong to predictions: these are the examples, their keys the segments."""
    with opened(tmp_path) as database:
        repository = Repository(database)
        log = Rows(repository)
        before, now = Window(MONDAY, MONDAY + DAY_US), Window(MONDAY + DAY_US, MONDAY + 2 * DAY_US)
        for window, ages in ((before, (20, 20)), (now, (60, 20))):
            log.write(
                {
                    "started_at": at,
                    "protocol": "other",
                    "variant": "ba"[i % 2],
                    "inputs": [{"age": ages[i % 2] + i % 10, "plan": "pro"}],
                }
                for i, at in enumerate(spread(200, window.from_us, window.to_us))
            )
        monitor = MonitorRun(repository, MonitorsConfig(), (), lambda _: None)
        monitor.set_baseline("default", "chat", before, before.to_us)
        query = DriftQuery(now, feature="input.age", deep=True)
        (found,) = build_explanations(repository, query, MonitorsConfig(), now.to_us).explanations
        record = repository.record(found.examples[0])
    assert found.onset.before
    assert (found.n_reference, found.n_current) == (200, 200)
    assert [(one.kind, one.segment) for one in found.carriers] == [("within", "variant=b")]
    assert record is not None
    assert record["variant"] == "b"
    assert found.deep is not None
    assert found.deep.carries[0][0] == "input.age"


def test_what_nobody_compared_is_not_calm(database: Database, traffic: Traffic) -> None:
    """Before a baseline nothing is said to stand still: when it comes is said instead."""
    watch = Watch(database, baseline=None)
    traffic.write(50, Window(NOW, END))
    found = build_explanations(watch.repository, QUERY, MonitorsConfig(), END)
    state = build_state(watch.repository, QUERY, MonitorsConfig(), END)
    assert (found.explanations, found.compared) == ((), 0)
    assert "no word on drift" in found.notes[0]
    assert found.notes[-1] == state.notes[-1]
    assert found.notes[-1].startswith("route `chat`: the first 1000 rows become its baseline")


def test_an_input_that_comes_as_text_is_named_so(tmp_path: Path) -> None:
    """Its values are missing as numbers: the cause is the type, since when it came."""
    change = MONDAY + DAY_US
    before, now = Window(MONDAY, change), Window(change, MONDAY + 2 * DAY_US)
    with opened(tmp_path) as database:
        repository = Repository(database)
        log = Rows(repository)
        for window, kind in ((before, int), (now, str)):
            asked = (
                {"started_at": at, "protocol": "other", "inputs": [{"age": kind(20 + i % 9)}]}
                for i, at in enumerate(spread(200, window.from_us, window.to_us))
            )
            log.write(asked, now_us=window.from_us)
        monitor = MonitorRun(repository, MonitorsConfig(), (), lambda _: None)
        monitor.set_baseline("default", "chat", before, before.to_us)
        query = DriftQuery(now, feature="input.age")
        (found,) = build_explanations(repository, query, MonitorsConfig(), now.to_us).explanations
    assert [one.kind for one in found.causes[:2]] == ["schema", "missing"]
    assert found.cause.startswith("`age` comes as text since 20")
    assert found.cause.endswith(", it was a number")
