"""Who answers a request, decided before anything is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from struct import pack
from typing import NamedTuple

from router.config import RetryConfig, RouteConfig, UpstreamConfig
from router.split import Variant, choose_by_draw, choose_by_key, unit_hash, variants_of

REST = "*"
"""Name of the route that takes every model name without one of its own."""


class ShadowShare(NamedTuple):
    """How often an upstream gets a copy; `prefix` is hashed before the draw."""

    name: str
    share: float
    prefix: bytes


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """A route with everything worked out that does not depend on the request.

    Attributes
    ----------
    plans : mapping of str to Plan
        Of each variant, without shadows: itself, then the fallback chain without repetitions, an
        embedded engine last.
    pinned : Plan
        The variant with the largest share alone: it keeps what only one upstream can keep.
    shadow_config : RouteConfig
        The route as its shadows see it: one try, no repeats.
    """

    config: RouteConfig
    variants: tuple[Variant, ...]
    plans: Mapping[str, "Plan"]
    pinned: "Plan"
    shadows: tuple[ShadowShare, ...]
    shadow_config: RouteConfig


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A frozen snapshot of all routes; a newer one has a higher `version`."""

    version: int
    routes: Mapping[str, CompiledRoute]

    def find(self, model: str) -> CompiledRoute | None:
        """Return the route of a model name, else the rest's, else None.

        Without a name and without a route for the rest it is any route, if all lead to the same
        main upstream.
        """
        found = self.routes.get(model) or self.routes.get(REST)
        if found is None and not model:
            routes = iter(self.routes.values())
            first = next(routes, None)
            if first is not None and all(
                route.pinned.variant == first.pinned.variant for route in routes
            ):
                return first
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision for one request.

    Attributes
    ----------
    variant : str
        The upstream that the split chose.
    candidates : tuple of str
        Upstreams in the order in which they are tried, `variant` first.
    shadows : tuple of str
        Upstreams that get a copy; never the variant.
    """

    route: RouteConfig
    variant: str
    candidates: tuple[str, ...]
    shadows: tuple[str, ...] = ()


def build_table(
    upstreams: Mapping[str, UpstreamConfig],
    routes: Mapping[str, RouteConfig],
    *,
    version: int,
    splits: Mapping[str, Mapping[str, float]] | None = None,
) -> RoutingTable:
    """Work out the table of a configuration.

    Parameters
    ----------
    splits : mapping, optional
        Route to the split that a rollout has set in place of the configured one.

    Raises
    ------
    ValueError
        A route names an upstream that does not exist, a split is none, or `splits` names an
        unknown route. (pydantic's ValidationError is a ValueError.)
    """
    splits = splits or {}
    for name in splits:
        if name not in routes:
            raise ValueError(f"`splits.{name}` is no route; the routes are {', '.join(routes)}")
    compiled = {
        name: _compile(name, _with_split(route, splits.get(name)), upstreams)
        for name, route in routes.items()
    }
    return RoutingTable(version, compiled)


def make_plan(
    route: CompiledRoute,
    *,
    sticky_key: bytes | None,
    draw: float,
    pinned: bool = False,
    keeper: str | None = None,
) -> Plan:
    """Decide who answers.

    Parameters
    ----------
    route : CompiledRoute
    sticky_key : bytes, optional
        See `sticky_key_of`; without one the draw chooses the variant.
    draw : float
        Random, in [0, 1), fresh for each request. It also decides the shadows, each on its own.
    pinned : bool
        Only the upstream that keeps an object can answer for it: the main one, and no other.
    keeper : str, optional
        With `pinned`: the upstream that is known to keep it, if it is one of the route.
    """
    if pinned:
        if keeper is not None and has_upstream(route, keeper):
            return Plan(route.config, keeper, (keeper,))
        return route.pinned
    if sticky_key is None:
        variant = choose_by_draw(route.variants, draw)
    else:
        variant = choose_by_key(route.variants, sticky_key)
    plan = route.plans[variant]
    shadows = _shadows(route, variant, draw) if route.shadows else ()
    return replace(plan, shadows=shadows) if shadows else plan


def has_upstream(route: CompiledRoute, name: str) -> bool:
    """Say whether a route may lead to an upstream."""
    return name in route.plans or name in route.config.fallback


def shadow_plan(table: RoutingTable, plan: Plan, shadow: str) -> Plan:
    """Return the plan of one shadow of a request: that upstream alone, tried once."""
    route = table.routes.get(plan.route.name)
    config = route.shadow_config if route is not None else _as_shadow(plan.route)
    return Plan(config, shadow, (shadow,))


def _shadows(route: CompiledRoute, variant: str, draw: float) -> tuple[str, ...]:
    seed = pack("<d", draw)
    return tuple(
        name
        for name, share, prefix in route.shadows
        if name != variant and unit_hash(prefix + seed) < share
    )


def _with_split(route: RouteConfig, split: Mapping[str, float] | None) -> RouteConfig:
    if split is None:
        return route
    return RouteConfig.model_validate({**route.model_dump(), "split": dict(split)})


def _compile(
    name: str, route: RouteConfig, upstreams: Mapping[str, UpstreamConfig]
) -> CompiledRoute:
    for key, used in (
        ("split", route.split),
        ("shadow", route.shadow),
        ("fallback", route.fallback),
    ):
        for upstream in used:
            if upstream not in upstreams:
                raise ValueError(
                    f"`routes.{name}.{key}` names `{upstream}`, which is no upstream;"
                    f" the upstreams are {', '.join(upstreams)}"
                )
    if route.name != name:
        route = route.model_copy(update={"name": name})
    # `sorted` is stable: the chain keeps its order, only an engine goes to its end.
    chain = sorted(route.fallback, key=lambda upstream: upstreams[upstream].engine is not None)
    main = max(route.split, key=lambda variant: route.split[variant])
    return CompiledRoute(
        config=route,
        variants=variants_of(name, list(route.split.items())),
        plans={
            variant: Plan(route, variant, tuple(dict.fromkeys((variant, *chain))))
            for variant in route.split
        },
        pinned=Plan(route, main, (main,)),
        shadows=tuple(
            ShadowShare(shadow, share, b"\0".join((b"shadow", name.encode(), shadow.encode(), b"")))
            for shadow, share in route.shadow.items()
            if share > 0
        ),
        shadow_config=_as_shadow(route),
    )


def _as_shadow(route: RouteConfig) -> RouteConfig:
    update = {"retry": RetryConfig(attempts=1, budget=0.0), "shadow": {}, "fallback": ()}
    return route.model_copy(update=update)
