import json

import msgspec
import numpy as np
import pytest

from monitors.baselines import Column, Reference, build_baseline, read_references
from monitors.config import MonitorsConfig
from monitors.drift import TooFew, compare
from monitors.episodes import Change, EpisodeKey, EpisodeSeverity, episodes
from monitors.evidence import Alarm, Budget, Evidence, looks_per_30d
from monitors.options import DEFAULTS
from monitors.verdicts import (
    Levels,
    Look,
    StreamView,
    far_from,
    judge,
    levels_for,
    severity_of,
)
from monitors.windows import Window
from storage.records import Verdict

LEVELS = Levels(psi=0.1, wasserstein_sd=0.1, critical_psi=0.25)
ALPHA = 1.0 / 86_400
STEP_US = 300_000_000


class Feature:
    """One feature under observation: each look judges a window and remembers the verdict."""

    def __init__(self, column: Column, name: str = "latency_s", baseline: str = "b@1") -> None:
        built = build_baseline("b", "chat", Window(0, 1), {name: column}, 0)
        self.reference: Reference = read_references(built)[name]
        self.baseline = baseline
        self.looks = 0
        self.last: Verdict | None = None

    def look(self, column: Column, stream: StreamView | None = None) -> Verdict:
        """Judge a window and remember the verdict as the database would."""
        self.looks += 1
        at = self.looks * STEP_US
        found = compare(self.reference, column, alpha=ALPHA, min_samples=50)
        look = Look(at, "chat", Window(at - STEP_US, at), self.baseline, clear_after=3)
        self.last = stored(judge(found, LEVELS, look, self.last, stream))
        return self.last


def stored(verdict: Verdict) -> Verdict:
    """Return a verdict as it is after a restart: its details went through JSON."""
    return msgspec.structs.replace(verdict, details=json.loads(json.dumps(verdict.details)))


@pytest.fixture
def rng() -> np.random.Generator:
    """Return seeded draws."""
    return np.random.default_rng(11)


def test_the_budget_is_shared_by_features_and_looks() -> None:
    """A tenth of an alarm in 30 days over 8,640 looks at 10 features is 0.1 / 86,400 for each."""
    looks = looks_per_30d(300.0)
    assert Budget(1.0, looks, 10).window_alpha == pytest.approx(0.1 / 86_400)
    assert Budget(2.0, looks, 10).window_alpha == pytest.approx(0.2 / 86_400)
    assert Budget(1.0, looks_per_30d(3600.0), 1).window_alpha == pytest.approx(0.1 / 720)


def test_a_budget_without_bounds_still_means_something() -> None:
    """However many false alarms are accepted, a look spends at most 5 %."""
    generous = Budget(1e9, looks_per_30d(1e9), 0, segments=3)
    assert generous.window_alpha == 0.05
    assert generous.alarm_at() == generous.alarm_at("variant=a") == 20.0


def test_small_windows_that_are_equal_have_not_moved(rng: np.random.Generator) -> None:
    """Of 150 rows the distance is above 0.1 sd by chance alone: no episode may hang on it."""
    feature = Feature(rng.normal(size=150))
    raw, material = [], []
    for _ in range(100):
        found = compare(feature.reference, rng.normal(size=150), alpha=ALPHA, min_samples=50)
        assert not isinstance(found, TooFew)
        assert found.wasserstein_sd is not None
        raw.append(found.wasserstein_sd.value >= LEVELS.wasserstein_sd)
        material.append(severity_of(found, LEVELS) != "none")
    assert sum(raw) > 50
    assert sum(material) < 30


def test_a_distance_that_may_be_none_is_not_material(rng: np.random.Generator) -> None:
    """Of a small reference the luck stays: an episode that hung on it would never end."""
    unlucky = []
    for _ in range(200):
        feature = Feature(rng.choice([45.0, 49.0, 52.0, 67.0], size=60))
        now = rng.choice([45.0, 49.0, 52.0, 67.0], size=207)
        found = compare(feature.reference, now, alpha=ALPHA, min_samples=50)
        assert not isinstance(found, TooFew)
        moved = found.wasserstein_sd
        assert moved is not None
        if moved.value >= far_from(found, LEVELS) and moved.interval.low <= 0.0:
            unlucky.append(severity_of(found, LEVELS))
    assert len(unlucky) > 5
    assert set(unlucky) == {"none"}


def test_nothing_happens_without_drift(rng: np.random.Generator) -> None:
    """Two hundred looks at undrifted windows, small and large, are all `ok`."""
    feature = Feature(rng.lognormal(size=5000))
    for number in range(200):
        verdict = feature.look(rng.lognormal(size=100 if number % 2 else 1000))
        assert (verdict.verdict, verdict.severity) == ("ok", "none")
        assert verdict.n_reference == 5000


@pytest.mark.parametrize(
    ("shift", "severity"), [(0.25, "warning"), (0.4, "warning"), (1.0, "critical")]
)
def test_severity_grows_with_the_shift(
    rng: np.random.Generator, shift: float, severity: str
) -> None:
    """Severity is the effect's, whatever the p-value."""
    verdict = Feature(rng.normal(size=5000)).look(rng.normal(shift, size=2000))
    assert (verdict.verdict, verdict.severity) == ("drift", severity)
    assert verdict.value is not None
    assert verdict.threshold is not None
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.value <= verdict.high
    assert verdict.value > verdict.threshold


def test_half_a_standard_deviation_is_found_in_a_small_window(rng: np.random.Generator) -> None:
    """Three hundred rows are enough at a ten-thousandth of a chance."""
    verdict = Feature(rng.normal(size=5000)).look(rng.normal(0.5, size=300))
    assert verdict.verdict == "drift"


def test_evidence_without_effect_is_ok(rng: np.random.Generator) -> None:
    """With enough rows everything is significant; a fiftieth of a deviation is not material."""
    verdict = Feature(rng.normal(size=200_000)).look(rng.normal(0.04, size=200_000))
    assert (verdict.details["evidence"], verdict.details["material"]) == (True, False)
    assert verdict.verdict == "ok"


def test_effect_without_evidence_is_ok(rng: np.random.Generator) -> None:
    """Fifty rows look far off by chance; that alone raises nothing."""
    feature = Feature(rng.normal(size=5000))
    verdicts = [feature.look(rng.normal(size=50)) for _ in range(20)]
    assert any(v.details["material"] for v in verdicts)
    assert {v.verdict for v in verdicts} == {"ok"}


def test_a_change_of_language_is_critical(rng: np.random.Generator) -> None:
    """Traffic that turns from English to German is found and named."""
    feature = Feature(rng.choice(["en", "de"], 5000, p=[0.9, 0.1]).tolist(), "language")
    verdict = feature.look(rng.choice(["en", "de"], 300, p=[0.3, 0.7]).tolist())
    assert (verdict.verdict, verdict.severity) == ("drift", "critical")
    assert "`de`" in str(verdict.details["cause"])


def test_longer_prompts_are_drift(rng: np.random.Generator) -> None:
    """Prompts twice as long are critical, and the medians say so."""
    feature = Feature(rng.lognormal(5.0, 0.7, 5000), "prompt_chars")
    verdict = feature.look(2.0 * rng.lognormal(5.0, 0.7, 400))
    assert (verdict.verdict, verdict.severity) == ("drift", "critical")
    assert str(verdict.details["cause"]).startswith("the median went from")


def test_too_few_rows_say_so(rng: np.random.Generator) -> None:
    """A thin window is `not_enough_data`, an empty one `stale`; neither has a value."""
    feature = Feature(rng.normal(size=1000))
    thin = feature.look(rng.normal(size=49))
    empty = feature.look([])
    assert (thin.verdict, thin.value, thin.n_current) == ("not_enough_data", None, 49)
    assert (empty.verdict, empty.value) == ("stale", None)


def test_drift_ends_after_calm_looks_only(rng: np.random.Generator) -> None:
    """Three calm looks in a row end an episode; until then it holds its severity."""
    feature = Feature(rng.normal(size=50_000))
    feature.look(rng.normal(1.0, size=20_000))
    held = [feature.look(rng.normal(size=20_000)) for _ in range(2)]
    assert {(v.verdict, v.severity) for v in held} == {("drift", "critical")}
    assert [v.details["calm_looks"] for v in held] == [1, 2]
    over = feature.look(rng.normal(size=20_000))
    assert (over.verdict, over.severity, over.details["open"]) == ("ok", "none", False)


def test_a_look_between_the_levels_starts_the_count_again(rng: np.random.Generator) -> None:
    """An effect below the material level, but not below half of it, is not calm."""
    feature = Feature(rng.normal(size=50_000))
    feature.look(rng.normal(1.0, size=20_000))
    feature.look(rng.normal(size=20_000))
    between = feature.look(rng.normal(0.09, size=20_000))
    assert (between.verdict, between.details["calm_looks"]) == ("drift", 0)


def test_episodes_of_small_windows_end_too(rng: np.random.Generator) -> None:
    """A hundred rows can never have a narrow interval; no trace of drift is calm enough."""
    feature = Feature(rng.normal(size=5000))
    assert feature.look(rng.normal(2.0, size=100)).verdict == "drift"
    verdicts = [feature.look(rng.normal(size=100)).verdict for _ in range(12)]
    assert "ok" in verdicts
    assert verdicts[0] == "drift"


def test_small_windows_that_still_drift_stay_open(rng: np.random.Generator) -> None:
    """What opened an episode keeps it open while it lasts."""
    feature = Feature(rng.normal(size=5000))
    verdicts = [feature.look(rng.normal(0.8, size=100)).verdict for _ in range(40)]
    first = verdicts.index("drift")
    assert set(verdicts[first:]) == {"drift"}


def test_silence_keeps_an_episode_open(rng: np.random.Generator) -> None:
    """Windows without data neither clear nor forget; severity and count go on after them."""
    feature = Feature(rng.normal(size=50_000))
    feature.look(rng.normal(1.0, size=20_000))
    feature.look(rng.normal(size=20_000))
    blind = [feature.look([]), feature.look(rng.normal(size=10))]
    assert [v.details["open"] for v in blind] == [True, True]
    after = feature.look(rng.normal(size=20_000))
    assert (after.verdict, after.severity, after.details["calm_looks"]) == ("drift", "critical", 2)


def test_severity_does_not_fall_within_an_episode(rng: np.random.Generator) -> None:
    """A critical episode that weakens stays critical until it is over."""
    feature = Feature(rng.normal(size=5000))
    feature.look(rng.normal(1.5, size=2000))
    assert feature.look(rng.normal(0.3, size=2000)).severity == "critical"


def test_a_new_baseline_starts_afresh(rng: np.random.Generator) -> None:
    """What was drift against another baseline says nothing about this one."""
    feature = Feature(rng.normal(size=5000))
    feature.look(rng.normal(1.0, size=2000))
    feature.baseline = "b@2"
    assert feature.look(rng.normal(size=2000)).verdict == "ok"


def test_the_same_look_has_the_same_id(rng: np.random.Generator) -> None:
    """A look that is repeated gives the same verdict under the same id."""
    values, window = rng.normal(size=1000), rng.normal(size=500)
    assert Feature(values).look(window) == Feature(values).look(window)


def view(feature: Feature, effect: Column | None = None, alarm: Alarm | None = None) -> StreamView:
    """Return what a stream shows: evidence, and an effect since its onset."""
    evidence = Evidence(Budget.of(DEFAULTS, 11), log_evidence=14.0, alarm=alarm)
    if effect is None:
        return StreamView(evidence)
    found = compare(feature.reference, effect, alpha=ALPHA, min_samples=50)
    return StreamView(evidence, found, Window(0, 9 * STEP_US))


ALARM = Alarm(at=STEP_US, onset_at=1, log_evidence=14.0, leading="location", rising=True)


def test_latched_evidence_opens_once_the_effect_is_material(rng: np.random.Generator) -> None:
    """A fifth of a deviation that no window test sees, measured since the onset."""
    feature = Feature(rng.normal(size=5000))
    few = rng.normal(0.2, size=60)
    assert feature.look(few, view(feature, rng.normal(0.2, size=3000))).verdict == "ok"
    verdict = feature.look(few, view(feature, rng.normal(0.2, size=3000), ALARM))
    assert (verdict.verdict, verdict.details["evidence_source"]) == ("drift", "detector")
    assert (verdict.n_current, verdict.window_from, verdict.details["onset_at"]) == (3000, 0, 1)


def test_evidence_without_rows_in_the_window_is_no_silence(rng: np.random.Generator) -> None:
    """With too few rows now the time since the onset decides."""
    feature = Feature(rng.normal(size=5000))
    assert feature.look([], view(feature, rng.normal(1.0, size=80), ALARM)).verdict == "drift"
    assert feature.look([], view(feature, [], ALARM)).verdict == "stale"


def test_latched_evidence_of_nothing_material_is_dropped(rng: np.random.Generator) -> None:
    """It stays latched until the effect was calm for `clear_after` looks, and raises nothing."""
    feature = Feature(rng.normal(size=50_000))
    calm = rng.normal(0.01, size=40_000)
    verdicts = [feature.look(calm[:1000], view(feature, calm, ALARM)) for _ in range(3)]
    assert {v.verdict for v in verdicts} == {"ok"}
    assert [v.details["latched"] for v in verdicts] == [True, True, False]


def test_a_share_that_moved_is_material(rng: np.random.Generator) -> None:
    """Three points of a category, or half a percent of a new one, once there is evidence."""
    feature = Feature(["stop"] * 4500 + ["length"] * 500, "finish_reason")
    moved = ["stop"] * 870 + ["length"] * 130
    new = ["stop"] * 895 + ["length"] * 100 + ["tool_calls"] * 5
    for effect in (moved, new):
        assert feature.look(effect[:60], view(feature, effect, ALARM)).verdict == "drift"
        feature.last = None
    same = ["stop"] * 900 + ["length"] * 100
    assert feature.look(same[:60], view(feature, same, ALARM)).verdict == "ok"


def test_a_feature_may_have_its_own_levels() -> None:
    """A feature's `psi` raises its critical level above it, other features keep theirs."""
    config = MonitorsConfig.model_validate({"features": {"latency_s": {"psi": 0.2}}})
    assert levels_for(config, "latency_s") == Levels(0.2, 0.1, 0.5)
    assert levels_for(config, "ttft_s") == Levels(0.02, 0.1, 0.25)


def verdict_of(feature: str, state: str, severity: str = "none", **details: object) -> Verdict:
    """Return a verdict of route `chat`."""
    at = STEP_US
    template = judge(
        TooFew(feature, "numeric", 100, 10, 50),
        LEVELS,
        Look(at, "chat", Window(0, at), "b@1", 3),
        None,
    )
    fields = {"verdict": state, "severity": severity, "details": {"open": False, **details}}
    return msgspec.structs.replace(template, **fields)


def test_drift_opens_one_episode_for_a_route(rng: np.random.Generator) -> None:
    """However many features drift, there is one change, which lists the largest effects first."""
    normal = rng.normal(size=5000)
    small = Feature(normal, "ttft_s").look(rng.normal(0.5, size=500))
    large = Feature(normal, "latency_s").look(rng.normal(1.5, size=500))
    changes = episodes({}, [small, large, verdict_of("error", "ok")])
    assert [c.kind for c in changes] == ["drift.opened"]
    change = changes[0]
    assert (change.route, change.subject, change.severity) == ("chat", "drift", "critical")
    features = change.data["features"]
    assert isinstance(features, list)
    assert [f["feature"] for f in features] == ["latency_s", "ttft_s"]
    assert features[0]["n_reference"] == 5000
    assert features[0]["cause"] in change.summary
    assert len(json.dumps(change.data, allow_nan=False)) < 20_000


def test_a_calm_look_changes_nothing() -> None:
    """Without an open episode `ok` and missing data are no change."""
    assert episodes({}, [verdict_of("latency_s", "ok"), verdict_of("ttft_s", "stale")]) == []


def test_an_open_episode_is_not_opened_again() -> None:
    """Drift that goes on is no change."""
    drifted = [verdict_of("latency_s", "drift", "warning", open=True)]
    assert episodes(open_as("warning"), drifted) == []


def test_a_worse_episode_escalates_once() -> None:
    """From warning to critical is a change, the way back is none."""
    worse = [verdict_of("latency_s", "drift", "critical", open=True)]
    assert kinds(episodes(open_as("warning"), worse)) == ["drift.escalated"]
    better = [verdict_of("latency_s", "drift", "warning", open=True)]
    assert episodes(open_as("critical"), better) == []


def test_an_episode_is_resolved_when_every_feature_is_back() -> None:
    """A single feature that still drifts, or is silent while open, keeps it open."""
    back = verdict_of("latency_s", "ok")
    silent = verdict_of("ttft_s", "stale", open=True)
    drifted = verdict_of("ttft_s", "drift", "warning", open=True)
    assert kinds(episodes(open_as("critical"), [back])) == ["drift.resolved"]
    assert episodes(open_as("critical"), [back])[0].severity == "critical"
    assert episodes(open_as("critical"), [back, silent]) == []
    assert episodes(open_as("critical"), [back, drifted]) == []


def test_no_data_at_all_resolves_nothing() -> None:
    """An episode needs something that is well to end."""
    assert episodes(open_as("warning"), [verdict_of("latency_s", "stale")]) == []


def test_other_routes_episodes_are_left_alone() -> None:
    """A look that did not cover a route does not end its episode."""
    assert episodes({("other", "drift"): "warning"}, [verdict_of("latency_s", "ok")]) == []


def kinds(changes: list[Change]) -> list[str]:
    """Return the kinds of changes."""
    return [change.kind for change in changes]


def open_as(severity: EpisodeSeverity) -> dict[EpisodeKey, EpisodeSeverity]:
    """Return an open drift episode of route `chat`."""
    return {("chat", "drift"): severity}
