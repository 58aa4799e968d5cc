from random import Random
from typing import Any

import pytest

from router.config import RouteConfig, UpstreamConfig
from router.plan import Plan, RoutingTable, build_table, make_plan, shadow_plan

UPSTREAMS = {
    name: UpstreamConfig(name=name, url=f"http://{name}.invalid/v1") for name in ("a", "b", "c")
} | {"local": UpstreamConfig(name="local", engine="llama.cpp")}


def _table(version: int = 1, **routes: dict[str, Any]) -> RoutingTable:
    configs = {
        name.replace("rest", "*"): RouteConfig(name=name.replace("rest", "*"), **route)
        for name, route in routes.items()
    }
    return build_table(UPSTREAMS, configs, version=version)


def _plan(table: RoutingTable, model: str = "chat", **more: Any) -> Plan:
    route = table.find(model)
    assert route is not None
    return make_plan(route, **{"sticky_key": None, "draw": 0.5, **more})


def test_a_route_of_the_models_own_name_comes_before_the_rest() -> None:
    """`*` takes only the names that have no route."""
    table = _table(chat={"split": {"a": 1}}, rest={"split": {"b": 1}})
    assert (_plan(table).variant, _plan(table, "other").variant) == ("a", "b")


def test_a_model_without_a_route_has_no_plan() -> None:
    """Without `*`, an unknown name is nobody's."""
    assert _table(chat={"split": {"a": 1}}).find("other") is None


def test_no_model_is_for_the_rest_or_for_where_all_routes_lead() -> None:
    """Where routes lead to different upstreams, nobody can say which one is meant."""
    apart: dict[str, Any] = {"chat": {"split": {"a": 1}}, "code": {"split": {"b": 1}}}
    assert _table(**apart).find("") is None
    assert _plan(_table(**apart, rest={"split": {"c": 1}}), "").variant == "c"
    together = _table(chat={"split": {"a": 0.9, "b": 0.1}}, code={"split": {"a": 1}})
    assert _plan(together, "", pinned=True).variant == "a"


def test_a_pinned_request_goes_to_the_main_upstream_alone() -> None:
    """Whatever the draw and the key: no other has what it asks for, and none gets a copy."""
    route = {"split": {"a": 0.2, "b": 0.8}, "fallback": ("c",), "shadow": {"c": 1.0}}
    table = _table(chat=route)
    for draw in (0.0, 0.5, 0.99):
        plan = _plan(table, sticky_key=b"someone", draw=draw, pinned=True)
        assert (plan.variant, plan.candidates, plan.shadows) == ("b", ("b",), ())


def test_a_known_keeper_answers_where_the_route_leads_there() -> None:
    """What is kept by a candidate, or by a stand-in, is asked for there; others are not asked."""
    route = {"split": {"a": 0.2, "b": 0.8}, "fallback": ("c",), "shadow": {"c": 1.0}}
    table = _table(chat=route, rest={"split": {"b": 1}})
    for keeper in ("a", "c"):
        plan = _plan(table, pinned=True, keeper=keeper)
        assert (plan.variant, plan.candidates, plan.shadows) == (keeper, (keeper,), ())
    assert _plan(table, "other", pinned=True, keeper="a").candidates == ("b",)
    assert _plan(table, pinned=True, keeper="gone").candidates == ("b",)


def test_candidates_are_the_variant_then_the_chain_without_repetitions() -> None:
    """An upstream stands once, the engine last, wherever the chain names them."""
    route = {"split": {"a": 0.5, "b": 0.5}, "fallback": ("local", "b", "a", "c")}
    plan = _plan(_table(chat=route), draw=0.9)
    assert plan.candidates == ("b", "a", "c", "local")


def test_an_engine_that_is_the_variant_comes_first() -> None:
    """Only a fallback engine goes to the end."""
    plan = _plan(_table(chat={"split": {"local": 1}, "fallback": ("a",)}))
    assert plan.candidates == ("local", "a")


def test_a_user_stays_with_their_variant_whatever_is_drawn() -> None:
    """The sticky key alone decides, and the plan says so."""
    table, rng = _table(chat={"split": {"a": 0.5, "b": 0.5}}), Random(1)
    plans = [_plan(table, sticky_key=b"ada", draw=rng.random()) for _ in range(50)]
    assert len({plan.variant for plan in plans}) == 1


def test_shadow_shares_hold_and_are_independent() -> None:
    """Two shadows at 10 % and 30 % get their shares, and both together the product."""
    table, rng = _table(chat={"split": {"a": 1}, "shadow": {"b": 0.1, "c": 0.3}}), Random(2)
    shadows = [_plan(table, draw=rng.random()).shadows for _ in range(20_000)]
    assert sum("b" in s for s in shadows) / 20_000 == pytest.approx(0.1, abs=0.01)
    assert sum("c" in s for s in shadows) / 20_000 == pytest.approx(0.3, abs=0.01)
    assert sum(len(s) == 2 for s in shadows) / 20_000 == pytest.approx(0.03, abs=0.005)


def test_shadows_are_independent_of_the_drawn_variant() -> None:
    """The draw that chooses the variant does not choose the shadows with it."""
    table, rng = _table(chat={"split": {"a": 0.5, "b": 0.5}, "shadow": {"c": 0.2}}), Random(3)
    plans = [_plan(table, draw=rng.random()) for _ in range(20_000)]
    for variant in ("a", "b"):
        mine = [plan for plan in plans if plan.variant == variant]
        share = sum(bool(plan.shadows) for plan in mine) / len(mine)
        assert share == pytest.approx(0.2, abs=0.015)


def test_an_upstream_does_not_shadow_itself() -> None:
    """The variant gets no copy of what it answers anyway."""
    table = _table(chat={"split": {"a": 0.5, "b": 0.5}, "shadow": {"b": 1.0}})
    assert _plan(table, draw=0.1).shadows == ("b",)
    assert _plan(table, draw=0.9).shadows == ()


def test_a_shadow_is_tried_once_and_nowhere_else() -> None:
    """Its plan has one candidate and no repeats."""
    route = {"split": {"a": 1}, "shadow": {"b": 1.0}, "fallback": ("c",)}
    table = _table(chat=route)
    shadow = shadow_plan(table, _plan(table), "b")
    assert (shadow.variant, shadow.candidates, shadow.shadows) == ("b", ("b",), ())
    assert (shadow.route.retry.attempts, shadow.route.name) == (1, "chat")


def test_a_rollouts_split_replaces_the_configured_one() -> None:
    """The weights that a rollout set are the ones in force."""
    routes = {"chat": RouteConfig(name="chat", split={"a": 1.0})}
    table = build_table(UPSTREAMS, routes, version=2, splits={"chat": {"a": 0.0, "b": 1.0}})
    assert _plan(table).variant == "b"


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"chat": {"a": 0.5}}, "add up to"),
        ({"chat": {"nobody": 1.0}}, r"`routes\.chat\.split` names `nobody`"),
        ({"other": {"a": 1.0}}, r"`splits\.other` is no route"),
    ],
)
def test_a_split_that_is_none_is_refused(splits: dict[str, dict[str, float]], says: str) -> None:
    """Bad weights, unknown upstreams and unknown routes never become a table."""
    routes = {"chat": RouteConfig(name="chat", split={"a": 1.0})}
    with pytest.raises(ValueError, match=says):
        build_table(UPSTREAMS, routes, version=2, splits=splits)
