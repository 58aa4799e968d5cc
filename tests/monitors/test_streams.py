from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.watched_traffic import (
    HOUR_US,
    NOW,
    REFERENCE,
    STEP_US,
    Traffic,
    Watch,
    reference_traffic,
)

from monitors.baselines import Reference, build_baseline, read_references
from monitors.episodes import episodes
from monitors.evidence import Budget
from monitors.options import DEFAULTS
from monitors.references.stored import hour_of_week
from monitors.schedule import MonitorRun
from monitors.streams import (
    Counted,
    RouteStreams,
    Source,
    StreamKey,
    count_new,
    feed,
    head_of,
    restored,
    sources_of,
    stored,
)
from monitors.windows import Window
from storage.database import Database
from storage.monitor_records import Detector
from storage.records import Verdict
from storage.repository import Repository
from storage.writer import Batch

ORIGIN = ("b@1", 0)
LATENCY = ("", "latency_s")
ROWS = 1_000


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    """Return traffic of a reference day of which the detectors know."""
    made = reference_traffic(tmp_path, (ROWS, "primary"))
    Watch(made.database).look(NOW)
    yield made
    made.database.close()


@pytest.fixture
def database(traffic: Traffic) -> Database:
    """Return the log of the traffic."""
    return traffic.database


def seen_rows(repository: Repository, feature: str = "error") -> int:
    """Return how many rows a stream's detector has in its pool beyond those of the baseline.

    A category's pool is exact but for what stands for values that were never seen: below one row.
    """
    (found,) = [d for d in repository.load_detectors() if (d.segment, d.feature) == ("", feature)]
    baseline = found.baseline
    created = next(
        b.created_at for b in repository.load_baselines() if f"{b.name}@{b.version}" == baseline
    )
    streams = restored([found], (baseline, created), NOW)
    assert streams is not None
    return int(streams.streams["", feature].state.pools.sum()) - ROWS


def test_late_rows_are_seen_once_over_looks_and_restarts(
    database: Database, traffic: Traffic
) -> None:
    """What counts is when a row came in: rows of days ago, twice looked at, by two processes."""
    repository = Repository(database)
    traffic.write(30, Window(NOW - STEP_US, NOW))
    first = Watch(database)
    first.look(NOW + STEP_US)
    assert seen_rows(repository) == 30
    traffic.write(50, Window(NOW - 40 * HOUR_US, NOW - 39 * HOUR_US))
    first.look(NOW + 2 * STEP_US)
    first.look(NOW + 3 * STEP_US)
    assert seen_rows(repository) == 80
    Watch(database).look(NOW + 4 * STEP_US)
    assert seen_rows(repository) == 80


class Killed(Repository):
    """A log whose process dies before a look is committed."""

    def save_look(self, _verdicts: Sequence[Verdict], _detectors: Sequence[Detector]) -> None:
        """Die."""
        raise KeyboardInterrupt


def test_a_look_that_was_not_committed_is_made_again(database: Database, traffic: Traffic) -> None:
    """Neither verdict nor detector is half there; the same monitor may go on as well."""
    traffic.write(30, Window(NOW - STEP_US, NOW))
    watch = Watch(database)
    config = watch.config
    dying = MonitorRun(Killed(database), config, ("chat",), watch.received.append)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            dying.run_once(NOW + STEP_US)
    assert seen_rows(watch.repository) == 0
    watch.look(NOW + 2 * STEP_US)
    assert seen_rows(watch.repository) == 30


def test_an_alert_that_was_not_raised_is_raised_by_the_next_look(
    database: Database, traffic: Traffic
) -> None:
    """Killed between commit and alert: the rows are not shown again, the episode stays open."""
    traffic.write(300, Window(NOW, NOW + STEP_US), longer=2.0)
    watch = Watch(database)

    def die(_: list[Verdict]) -> None:
        raise KeyboardInterrupt

    dying = MonitorRun(watch.repository, watch.config, ("chat",), die)
    with pytest.raises(KeyboardInterrupt):
        dying.run_once(NOW + STEP_US)
    assert watch.look(NOW + 2 * STEP_US)["prompt_chars"] == "drift"
    assert seen_rows(watch.repository) == 300


def test_a_database_made_anew_begins_the_detectors_anew(
    database: Database, traffic: Traffic
) -> None:
    """A batch that the log never had cannot have been seen."""
    watch = Watch(database)
    later = [msgspec.structs.replace(d, batch=10**9) for d in watch.repository.load_detectors()]
    watch.repository.save_look([], later)
    traffic.write(30, Window(NOW - STEP_US, NOW))
    watch.look(NOW + STEP_US)
    traffic.write(20, Window(NOW - STEP_US, NOW))
    watch.look(NOW + 2 * STEP_US)
    assert seen_rows(watch.repository) == 20


def test_another_baseline_forgets_the_evidence_not_what_was_seen(
    database: Database, traffic: Traffic
) -> None:
    """Its detectors begin from its own counts, behind the batch that was read last; others go."""
    traffic.write(100, Window(NOW - STEP_US, NOW))
    watch = Watch(database)
    watch.look(NOW + STEP_US)
    watch.monitor.set_baseline("other", "chat", REFERENCE, NOW + STEP_US)
    traffic.write(7, Window(NOW - STEP_US, NOW))
    watch.look(NOW + 2 * STEP_US)
    assert {d.baseline for d in watch.repository.load_detectors()} == {"other@1"}
    assert seen_rows(watch.repository) == 7
    unwatched = {"latency_s": {"enabled": False}}
    Watch(database, features=unwatched, baseline=None).look(NOW + 3 * STEP_US)
    assert "latency_s" not in {d.feature for d in watch.repository.load_detectors()}


def test_segments_that_a_baseline_does_not_know_are_told(
    database: Database, traffic: Traffic, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is configured later needs a new baseline; that is said once."""
    watch = Watch(database, segments=["variant", "tag"])
    for step in (1, 2):
        watch.look(NOW + step * STEP_US)
    (told,) = [text for text in caplog.messages if "apart" in text]
    assert "`configured@1` does not tell `tag` apart" in told


def test_little_traffic_is_found_eventually(database: Database, traffic: Traffic) -> None:
    """No window ever has enough rows, the time since the onset has."""
    watch, found = Watch(database), {}
    for step in range(1, 16):
        now = NOW + step * HOUR_US
        traffic.write(20, Window(now - HOUR_US, now), longer=1.8)
        found = {v.feature: v for v in watch.monitor.run_once(now)}
        if found["prompt_chars"].verdict == "drift":
            break
    verdict = found["prompt_chars"]
    assert verdict.verdict == "drift"
    assert verdict.details["evidence_source"] == "detector"
    assert verdict.n_current >= 50
    assert found["latency_s"].verdict == "not_enough_data"
    ids = verdict.details["sample_ids"]
    assert isinstance(ids, list)
    record = watch.repository.record(ids[0])
    assert record is not None
    assert record["started_at"] >= verdict.window_from


def test_a_segment_that_drifts_alone_is_named(tmp_path: Path) -> None:
    """A tenth of the traffic, which the whole hardly shows; it is told of until its rows end."""
    traffic = reference_traffic(tmp_path, (ROWS, "primary"), (ROWS // 4, "candidate"))
    watch = Watch(traffic.database)
    told: list[Verdict] = []
    for step in range(6):
        now = NOW + step * STEP_US
        traffic.write(120, Window(now - STEP_US, now))
        traffic.write(12, Window(now - STEP_US, now), variant="candidate", longer=3.0)
        told = [v for v in watch.monitor.run_once(now) if v.segment]
        if any(v.verdict == "drift" for v in told):
            break
    drifted = {(v.segment, v.feature) for v in told if v.verdict == "drift"}
    assert drifted == {
        ("variant=candidate", "prompt_chars"),
        ("variant=candidate", "prompt_tokens"),
    }
    latest = watch.repository.latest_verdicts("chat", "drift")
    assert drifted <= {(v.segment, v.feature) for v in latest}
    later = NOW + 3 * HOUR_US
    traffic.write(60, Window(later - HOUR_US, later))
    over = [v for v in watch.monitor.run_once(later) if v.segment]
    assert {(v.segment, v.feature) for v in over} == drifted
    assert {v.details["ended"] for v in over} == {"`variant=candidate` has no rows any more"}
    assert not [v for v in watch.monitor.run_once(later + STEP_US) if v.segment]
    traffic.database.close()


def test_an_episode_that_nothing_more_is_known_of_ends_after_a_day(
    database: Database, traffic: Traffic
) -> None:
    """Silence ends nothing for a day; the last verdicts say why, and detectors begin anew."""
    watch, later = Watch(database), NOW + STEP_US
    traffic.write(400, Window(NOW - HOUR_US, later), longer=2.0)
    opened = {v.feature for v in watch.monitor.run_once(later) if v.verdict == "drift"}
    assert "prompt_chars" in opened
    traffic.write(10, Window(later + 20 * HOUR_US, later + 21 * HOUR_US), longer=2.0)
    for hours in (21, 23):
        waits = watch.monitor.run_once(later + hours * HOUR_US)
        assert {v.feature for v in waits if v.details["open"]} == opened
    ends = later + 25 * HOUR_US
    over = Watch(database).monitor.run_once(ends)
    assert {v.feature for v in over if "ended" in v.details} == opened
    assert alarms(watch.repository) == set()
    (change,) = episodes({("chat", "drift"): "warning"}, over)
    assert (change.kind, change.data["no_data"]) == ("drift.resolved", True)
    assert "no recovery was seen" in change.summary
    assert "no data: too few rows to say anything since 2026-10-" in change.summary
    again = Watch(database).monitor.run_once(ends + STEP_US)
    assert not [v for v in again if v.details["open"] or "ended" in v.details]


def test_evidence_of_few_rows_waits_for_more(database: Database, traffic: Traffic) -> None:
    """On a slow route nothing could be said for long; what is found then is not given up."""
    watch, now = Watch(database), NOW + 30 * HOUR_US
    for rows, verdict in ((40, "not_enough_data"), (0, "not_enough_data"), (20, "drift")):
        traffic.write(rows, Window(now - STEP_US, now), longer=8.0)
        found = {v.feature: v for v in watch.monitor.run_once(now)}["prompt_chars"]
        assert (found.verdict, found.details["latched"]) == (verdict, True)
        now += STEP_US


def test_days_of_little_do_not_hide_what_begins_among_them(
    database: Database, traffic: Traffic
) -> None:
    """Latched evidence of too small an effect; five hours of a large one are 8 % of that time."""
    watch = Watch(database, material={**IMMATERIAL, "wasserstein_sd": 0.8}, segments=[])
    found: dict[str, Verdict] = {}
    begun = NOW
    for hours, longer in ((10, 1.3), (48, 1.3), (5, 2.2)):
        now = begun + hours * HOUR_US
        traffic.write(30 * hours, Window(begun, now), longer=longer)
        found = {v.feature: v for v in watch.monitor.run_once(now)}
        assert found["prompt_chars"].details["latched"] is True
        if longer < 2.0:
            assert found["prompt_chars"].verdict == "ok"
        begun = now
    told = found["prompt_chars"]
    assert told.verdict == "drift"
    # As long ago as the evidence took, not when it began.
    assert told.details["onset_at"] == told.window_from > NOW + 48 * HOUR_US


IMMATERIAL = {"wasserstein_sd": 9.0, "psi": 9.0, "critical_psi": 30.0, "share": 0.9}
"""Levels below which even half as many characters again lie."""


def alarms(repository: Repository) -> set[StreamKey]:
    """Return the streams whose evidence is latched, as they are stored."""
    (origin,) = {(f"{b.name}@{b.version}", b.created_at) for b in repository.load_baselines("chat")}
    found = restored(repository.load_detectors(), origin, NOW)
    assert found is not None
    return {key for key, stream in found.streams.items() if stream.alarm is not None}


@pytest.mark.parametrize(("clear_after", "rests"), [(1, False), (3, True)])
def test_a_detector_goes_on_after_calm_looks(
    database: Database, traffic: Traffic, clear_after: int, *, rests: bool
) -> None:
    """Evidence of an effect far below its level; one calm look may be enough."""
    watch = Watch(database, clear_after=clear_after, material=IMMATERIAL, segments=[])
    traffic.write(300, Window(NOW - STEP_US, NOW), longer=1.5)
    found = {v.feature: v for v in watch.monitor.run_once(NOW + STEP_US)}["prompt_chars"]
    assert (found.verdict, found.details["leading"]) == ("ok", "location")
    assert (("", "prompt_chars") in alarms(watch.repository)) is rests


def test_a_clock_that_was_set_back_stops_no_look(database: Database, traffic: Traffic) -> None:
    """Evidence from an onset that is still to come, says the clock."""
    watch = Watch(database, material=IMMATERIAL, segments=[])
    traffic.write(300, Window(NOW - STEP_US, NOW), longer=1.5)
    watch.look(NOW)
    assert Watch(database, material=IMMATERIAL, segments=[]).look(NOW - HOUR_US)


def test_a_detector_of_other_cells_begins_anew() -> None:
    """What a program stored that cut the reference otherwise fits no count."""
    rng = np.random.default_rng(3)
    fed = Fed(rng)
    fed.look(rng.lognormal(size=100))
    words = fed.streams.streams["", "finish_reason"]
    fed.streams = fed.streams._replace(streams={LATENCY: words})
    fed.look(rng.lognormal(size=100))
    assert fed.streams.streams[LATENCY].state.looks == 1


def references(rng: np.random.Generator) -> dict[str, Reference]:
    """Return a baseline of a number and a category."""
    words = rng.choice(["stop", "length"], 5_000, p=[0.9, 0.1]).tolist()
    columns = {"latency_s": rng.lognormal(size=5_000), "finish_reason": words}
    return read_references(build_baseline("b", "chat", Window(0, 1), columns, 0))


class Fed:
    """Streams that are shown counts, look after look."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.sources: dict[StreamKey, Source] = sources_of(references(rng), (), 50)
        self.streams = RouteStreams(ORIGIN, 0, {})
        self.budget = Budget.of(DEFAULTS, len(self.sources))

    def look(self, latency: Any) -> None:
        """Show one look's rows."""
        words = self.rng.choice(["stop", "length"], len(latency), p=[0.9, 0.1]).tolist()
        rows = {"latency_s": latency, "finish_reason": words}
        counts = {
            key: {0: source.cells.count(rows[key[1]])} for key, source in self.sources.items()
        }
        at = (self.streams.batch + 1) * STEP_US
        new = Counted(self.streams.batch + 1, at, counts)
        self.streams = feed(
            self.streams, self.sources, new, self.budget.alarm_at, (at + STEP_US, ())
        )

    def alarms(self) -> set[StreamKey]:
        """Return the streams whose evidence is latched."""
        return {key for key, stream in self.streams.streams.items() if stream.alarm is not None}


def test_nothing_alarms_without_drift_and_creep_is_found() -> None:
    """Three days of looks without an alarm; then a quarter of a deviation, within an hour."""
    rng = np.random.default_rng(3)
    fed = Fed(rng)
    for _ in range(900):
        fed.look(rng.lognormal(size=100))
    assert fed.alarms() == set()
    begun = fed.streams.batch * STEP_US
    for _ in range(12):
        fed.look(rng.lognormal(0.25, size=100))
    assert fed.alarms() == {LATENCY}
    alarm = fed.streams.streams[LATENCY].alarm
    assert alarm is not None
    assert (alarm.leading, alarm.rising) == ("location", True)
    assert abs(alarm.onset_at - begun) < 6 * STEP_US


def test_the_order_of_a_looks_rows_does_not_matter() -> None:
    """Streams that saw the same rows in another order are the same to the byte."""
    one, two = (Fed(np.random.default_rng(5)) for _ in range(2))
    rows = np.random.default_rng(6).lognormal(size=200)
    one.look(rows)
    two.look(rows[::-1])
    assert stored("chat", one.streams, 0) == stored("chat", two.streams, 0)


def test_streams_are_restored_as_they_were_stored() -> None:
    """State, evidence and alarm; not for another baseline, and not after a week of silence."""
    rng = np.random.default_rng(7)
    fed = Fed(rng)
    for _ in range(4):
        fed.look(rng.lognormal(1.0, size=100))
    kept = stored("chat", fed.streams, 0)
    back = restored(kept, ORIGIN, STEP_US)
    assert back is not None
    assert stored("chat", back, 0) == kept
    assert back.streams[LATENCY].alarm == fed.streams.streams[LATENCY].alarm is not None
    other = restored(kept, ("b@2", 0), STEP_US)
    assert other is not None
    assert (other.batch, other.streams) == (fed.streams.batch, {})
    assert restored(kept, ORIGIN, 8 * 86_400_000_000) is None


def test_rows_of_an_hour_are_ranked_in_its_pool(database: Database, traffic: Traffic) -> None:
    """After a stop a look takes rows of several hours, each to the detector's own."""
    repository = Repository(database)
    traffic.write(40, Window(NOW - 2 * HOUR_US, NOW))
    whole = read_references(repository.load_baselines()[0])["error"]
    hours = np.tile(whole.counts, (168, 1))
    key = ("", "error")
    sources = {key: Source(whole.cells, whole.counts, hours=hours)}
    with repository.snapshot() as log:
        new = count_new(log, "chat", head_of(log, "chat") - 1, sources)
    assert {hour: int(found.sum()) for hour, found in new.counts[key].items()} == {
        NOW - 2 * HOUR_US: 20,
        NOW - HOUR_US: 20,
    }
    after = feed(RouteStreams(ORIGIN, 0, {}), sources, new, lambda _: 1e6, (NOW, ()))
    grown = after.streams[key].state.pools.sum(axis=1) - whole.rows
    assert sorted(np.flatnonzero(grown > 10).tolist()) == sorted(
        hour_of_week(hour) for hour in new.counts[key]
    )


def test_latched_streams_rest() -> None:
    """What came in since the alarm does not teach the pool what drift looks like."""
    rng = np.random.default_rng(8)
    fed = Fed(rng)
    for _ in range(3):
        fed.look(rng.lognormal(2.0, size=100))
    before = fed.streams.streams[LATENCY]
    fed.look(rng.lognormal(2.0, size=100))
    assert before.alarm is not None
    assert fed.streams.streams[LATENCY] is before


def test_streams_spend_the_budget_together() -> None:
    """Looks over levels, summed over streams, and the tests' chances add up to drift's part."""
    for segments in (0, 30):
        budget = Budget.of(DEFAULTS, 11, segments)
        spent = 11 * budget.looks / budget.alarm_at()
        if segments:
            spent += segments * budget.looks / budget.alarm_at("variant=a")
        spent += 11 * budget.looks * budget.window_alpha
        assert spent == pytest.approx(0.8)


def with_inputs(traffic: Traffic, rows: int, window: Window, age: float) -> None:
    """Write predictions of a model that is asked with an age and a country."""
    ends, signals = [], []
    for at in np.linspace(window.from_us, window.to_us, rows, endpoint=False).astype(int).tolist():
        end, signal = traffic.one(at)
        asked = {
            "age": float(traffic.rng.normal(age, 10.0)),
            "country": str(traffic.rng.choice(["de", "fr"])),
        }
        ends.append(end)
        signals.append(msgspec.structs.replace(signal, inputs=[asked]))
    Repository(traffic.database).append(Batch(ends, signals, (), (), ()), now_us=NOW)


def test_inputs_of_models_are_features(tmp_path: Path) -> None:
    """They drift by name, and what no model is asked with any more ends; silence ends nothing."""
    database = open_empty_log(tmp_path, now_us=lambda: NOW)
    traffic = Traffic(database)
    with_inputs(traffic, 600, REFERENCE, 40.0)
    watch = Watch(database)
    watch.look(NOW)
    with_inputs(traffic, 120, Window(NOW, NOW + HOUR_US), 55.0)
    found = {v.feature: v for v in watch.monitor.run_once(NOW + HOUR_US) if not v.segment}
    assert found["input.age"].verdict == "drift"
    assert found["input.age"].details["latched"] is True
    assert (found["input.country"].verdict, found["input.country"].kind) == ("ok", "categorical")
    assert found["latency_s"].verdict == "ok"
    silent = {v.feature: v for v in watch.monitor.run_once(NOW + 3 * HOUR_US)}["input.age"]
    assert (silent.verdict, silent.details["open"]) == ("stale", True)
    later = NOW + 4 * HOUR_US
    traffic.write(60, Window(later - HOUR_US, later))
    over = {v.feature: v for v in watch.monitor.run_once(later)}["input.age"]
    assert over.details["ended"] == "`input.age` has no rows any more"
    database.close()
