"""A dispatcher over scripted upstreams, with one route and virtual time."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from support.scripted_upstream import ScriptedUpstream, Step, TextCall
from support.virtual_time import LoopClock

from router.answer import Answer
from router.config import RouteConfig, UpstreamConfig
from router.dispatch import Dispatcher
from router.errors import RouteExhausted
from router.outcome import Outcome
from router.plan import Plan, build_table, make_plan

ENGINE = "local"


def config_of(name: str) -> UpstreamConfig:
    """Return an upstream's configuration; the one called `local` is the engine."""
    if name == ENGINE:
        return UpstreamConfig(name=name, engine="llama.cpp")
    return UpstreamConfig(name=name, url=f"http://{name}.invalid/v1")


class Bench:
    """Upstreams by name, a route that tries them in order, and the dispatcher between.

    Parameters
    ----------
    scripts : mapping of str to list of Step, or Step
        In the order of the candidates: the steps in turn (then OK), or one step for ever. None is
        an upstream that is configured but not there.
    route : mapping, optional
        Other keys of the route's configuration.
    """

    def __init__(
        self, scripts: Mapping[str, list[Step] | Step | None], *, seed: int = 1, **route: Any
    ) -> None:
        self.upstreams = {
            name: ScriptedUpstream(name, script)
            if isinstance(script, list)
            else ScriptedUpstream(name, default=script)
            for name, script in scripts.items()
            if script is not None
        }
        first, *chain = scripts
        config = RouteConfig(name="chat", split={first: 1.0}, fallback=tuple(chain), **route)
        configs = {name: config_of(name) for name in scripts}
        self.table = build_table(configs, {"chat": config}, version=1)
        self.dispatcher = Dispatcher(
            dict(self.upstreams), configs, clock=LoopClock(), rng=Random(seed), answer_bytes=1000
        )
        self.outcome = Outcome()

    @property
    def plan(self) -> Plan:
        """Return the plan of a request."""
        return make_plan(self.table.routes["chat"], sticky_key=None, draw=0.5)

    async def ask(self, *, stream: bool = False) -> Answer:
        """Send one request, with an outcome of its own."""
        self.outcome = Outcome()
        return await self.dispatcher.run(self.plan, TextCall(stream=stream), self.outcome)

    async def ask_and_finish(self) -> str:
        """Send one plain request and end it; return who answered."""
        answer = await self.ask()
        answer.finish(None)
        return answer.upstream.name

    async def ask_at_once(self, count: int) -> list[str | RouteExhausted]:
        """Send plain requests together; return who answered each, or how it failed."""
        asked = (self.ask_and_finish() for _ in range(count))
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, str | RouteExhausted) for result in results)
        return [result for result in results if isinstance(result, str | RouteExhausted)]

    async def ask_and_leave(self, wait_s: float, *, stream: bool) -> None:
        """Send a request whose client leaves while it is under way."""
        self.outcome = Outcome()
        run = self.dispatcher.run(self.plan, TextCall(stream=stream), self.outcome)
        task = asyncio.get_running_loop().create_task(run)
        await asyncio.sleep(wait_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    @property
    def calls(self) -> dict[str, int]:
        """Return how many requests each upstream got."""
        return {name: len(upstream.calls) for name, upstream in self.upstreams.items()}

    @property
    def tried(self) -> list[tuple[str, str | None]]:
        """Return upstream and reason of each attempt of the last request."""
        return [(a.upstream, a.reason and a.reason.value) for a in self.outcome.attempts]

    def assert_nothing_left(self) -> None:
        """Check that no connection, request or permit is held."""
        assert [name for name, upstream in self.upstreams.items() if upstream.open] == []
        assert self.dispatcher.statistics()[:2] == (0, 0)
