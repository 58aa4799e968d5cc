from typing import Any

import msgspec
import pytest

from monitors.episodes import EVERYWHERE, EpisodeKey, EpisodeSeverity, episodes
from monitors.memory import Memory
from monitors.shock import Span, marked, what_changed
from storage.log import CountRow
from storage.records import Verdict

AT = 1_792_800_000_000_000
FEATURES = ("latency_s", "prompt_chars", "response_chars", "language", "error")


def verdict(route: str, feature: str, word: Any = "drift", **details: object) -> Verdict:
    """Return a verdict of a look."""
    return Verdict(
        id=f"{route}:{feature}",
        at=AT,
        monitor="drift",
        route=route,
        feature=feature,
        kind="numeric",
        verdict=word,
        severity="warning" if word == "drift" else "none",
        statistic="psi",
        value=0.3,
        low=0.2,
        high=0.4,
        threshold=0.01,
        n_reference=5_000,
        n_current=1_000,
        window_from=AT - 1,
        window_to=AT,
        baseline="b@1",
        details={"open": word == "drift", **details},
    )


def look(route: str, drifted: int) -> list[Verdict]:
    """Return a route's verdicts, of which the first ones drift."""
    return [
        verdict(route, name, "drift" if place < drifted else "ok")
        for place, name in enumerate(FEATURES)
    ]


@pytest.mark.parametrize(("drifted", "is_shock"), [(2, False), (3, True), (5, True)])
def test_half_the_features_at_once_are_a_shock(drifted: int, *, is_shock: bool) -> None:
    """One change that says so and names who moved, where it would name the largest effects."""
    (change,) = episodes({}, marked(look("chat", drifted), {}))
    assert change.data.get("common_shock", False) is is_shock
    assert ("moved at once" in change.summary) is is_shock
    if is_shock:
        assert change.data["movers"] == sorted(FEATURES[:drifted])


def test_features_that_were_open_before_are_no_shock() -> None:
    """What opens one by one has several causes, or a slow one."""
    were_open = {("chat", "", name): True for name in FEATURES[:2]}
    (change,) = episodes({}, marked(look("chat", 3), were_open))
    assert "common_shock" not in change.data


def test_routes_that_drift_at_once_share_an_episode() -> None:
    """One alert of three routes; it ends when the last of them is back."""
    routes = ("chat", "search", "embed")
    verdicts = marked([v for route in routes for v in look(route, 1)], {})
    (change,) = episodes({}, verdicts)
    assert (change.kind, change.route) == ("drift.opened", EVERYWHERE)
    assert change.data["routes"] == sorted(routes)
    was: dict[EpisodeKey, EpisodeSeverity] = {(EVERYWHERE, "drift"): "warning"}
    assert episodes(was, verdicts) == []
    back = [
        verdict(route, "latency_s", "drift" if route == "chat" else "ok", shared=True)
        for route in routes
    ]
    assert episodes(was, back) == []
    ended = [verdict("chat", "latency_s", "ok", shared=True)]
    assert [c.kind for c in episodes(was, ended)] == ["drift.resolved"]


def test_a_shared_episode_ends_with_its_baseline() -> None:
    """Against another baseline nothing drifts; without rows the end waits for some."""
    shared = verdict("chat", "latency_s", shared=True)
    found = Memory.of(shared, "b@2")
    assert (found.open, found.shared) == (False, True)
    blind = msgspec.structs.replace(shared, value=None, verdict="stale", details={"shared": True})
    assert Memory.of(blind, "b@2").shared
    over = verdict("chat", "latency_s", "ok", shared=True)
    assert not Memory.of(over, "b@2").shared


def test_a_route_that_drifts_already_is_told_by_itself() -> None:
    """Its episode goes on; the two others are too few for a shared one."""
    verdicts = [v for route in ("chat", "search", "embed") for v in look(route, 1)]
    changes = episodes({}, marked(verdicts, {("chat", "", "error"): True}))
    assert [c.route for c in changes] == ["chat", "embed", "search"]


def test_what_opens_beside_a_shared_episode_is_told() -> None:
    """Three more routes cannot join what was told before they drifted."""
    verdicts = [v for route in ("chat", "search", "embed") for v in look(route, 1)]
    was: dict[EpisodeKey, EpisodeSeverity] = {(EVERYWHERE, "drift"): "warning"}
    changes = episodes(was, marked(verdicts, {}, shared_before=True))
    assert [c.route for c in changes] == ["chat", "embed", "search"]


def count(n: int, **names: str | int) -> CountRow:
    """Return counted requests."""
    fields: dict[str, Any] = dict.fromkeys(CountRow._fields, 0)
    fields |= {"role": "primary", "model": "m", "variant": "v", "upstream": "u"}
    return CountRow(**{**fields, **names, "n": n})


def test_a_new_model_and_more_requests_are_told() -> None:
    """What changed in that minute: shares of models, and the rate."""
    before = Span([count(100)], 3_600.0)
    after = Span([count(20), count(80, model="m-2")], 600.0)
    told = what_changed(before, after)
    assert any("model `m-2` went from 0% to 80% of requests" in fact for fact in told)
    assert any(fact.startswith("requests went from") for fact in told)
    assert what_changed(before, Span([count(17)], 600.0)) == []
    assert what_changed(Span([], 3_600.0), after) == []


def test_traffic_that_began_a_minute_ago_has_the_rate_of_that_minute() -> None:
    """A young route is no busier than it was because an hour is mostly before its first row."""
    hour_us, minute_us = 3_600_000_000, 60_000_000
    young = Span.before([count(100, first_at=hour_us - minute_us)], 0, hour_us)
    assert what_changed(young, Span([count(50)], 30.0)) == []
