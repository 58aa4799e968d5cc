"""What happens when upstreams have as many requests as they may."""

import asyncio
from typing import Any

import pytest
from support.routing import Bench, config_of
from support.scripted_upstream import OK, STREAM, Step
from support.virtual_time import run_virtually

from router.errors import Reason, RouteExhausted

SLOW = Step((b"ok",), pause_s=1.0)


def bench_of(*names: str, queue: int = 0, **route: Any) -> Bench:
    """Return slow upstreams that take one request at a time."""
    bench = Bench(dict.fromkeys(names, SLOW), **route)
    limits = {"max_concurrency": 1, "max_queue": queue}
    configs = {name: config_of(name).model_copy(update=limits) for name in names}
    bench.dispatcher.replace(dict(bench.upstreams), configs)
    return bench


def test_full_upstream_is_left_for_the_next_without_a_permit() -> None:
    """Requests that one upstream has no room for go on to the next, whatever the retry budget."""

    async def main() -> None:
        bench = bench_of("a", "b", retry={"budget": 0.0})
        bench.dispatcher.replace(
            dict(bench.upstreams),
            {
                "a": config_of("a").model_copy(update={"max_concurrency": 1, "max_queue": 0}),
                "b": config_of("b"),
            },
        )
        answered = await bench.ask_at_once(20)
        assert sorted(str(name) for name in answered) == ["a"] + ["b"] * 19
        assert bench.dispatcher.statistics().denied == 0
        assert set(bench.dispatcher.statistics().breakers.values()) == {"closed"}
        bench.assert_nothing_left()

    run_virtually(main())


def test_when_all_are_full_the_client_is_told_when_to_come_back() -> None:
    """429 with `upstream_busy` and a time; no attempt reached an upstream."""

    async def main() -> None:
        bench = bench_of("a", "b")
        results = await bench.ask_at_once(5)
        errors = [result for result in results if isinstance(result, RouteExhausted)]
        assert len(errors) == 3
        assert {(one.status, one.reason) for one in errors} == {(429, Reason.UPSTREAM_BUSY)}
        assert all(one.retry_after_s is not None and one.retry_after_s >= 1 for one in errors)
        assert bench.calls == {"a": 1, "b": 1}
        bench.assert_nothing_left()

    run_virtually(main())


def test_requests_wait_for_a_place_no_longer_than_for_a_connection() -> None:
    """The queue is served in turn within `timeouts.connect`; who comes later is refused."""

    async def main() -> None:
        bench = bench_of("a", queue=10, timeouts={"connect": 2.5})
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        results = await bench.ask_at_once(6)
        assert results.count("a") == 3
        assert loop.time() - began_s == pytest.approx(3.0, abs=0.1)
        assert bench.dispatcher.statistics().waiting == {"a": 0}
        bench.assert_nothing_left()

    run_virtually(main())


@pytest.mark.parametrize("stream", [False, True])
def test_wait_that_uses_up_the_time_is_nobodys_fault(*, stream: bool) -> None:
    """A queue of our own says nothing of its upstream, also when a deadline ends the wait."""

    async def main() -> None:
        timeouts = {"connect": 2.0, "first_token": 0.3, "total": 0.3 if not stream else 60.0}
        bench = bench_of("a", queue=10, timeouts=timeouts)
        held = bench.dispatcher._lanes["a"].gate
        assert held.try_enter()
        for _ in range(6):
            with pytest.raises(RouteExhausted) as caught:
                await bench.ask(stream=stream)
            assert (caught.value.status, caught.value.reason) == (429, Reason.UPSTREAM_BUSY)
        assert bench.dispatcher.statistics().breakers == {"a": "closed"}
        assert bench.calls == {"a": 0}
        held.leave()
        bench.assert_nothing_left()

    run_virtually(main())


def test_wait_counts_towards_the_first_token() -> None:
    """What was spent in the queue is not there for the answer."""

    async def main() -> None:
        timeouts = {"connect": 2.0, "first_token": 3.0}
        bench, loop = bench_of("a", queue=10, timeouts=timeouts), asyncio.get_running_loop()
        held = bench.dispatcher._lanes["a"].gate
        assert held.try_enter()
        loop.call_later(1.5, held.leave)
        bench.upstreams["a"].default = Step(pause_s=1e9)
        began_s = loop.time()
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask(stream=True)
        assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
        assert loop.time() - began_s == pytest.approx(3.0)
        bench.assert_nothing_left()

    run_virtually(main())


def test_client_that_leaves_while_waiting_takes_no_place() -> None:
    """Its attempt ends as `client_closed`, and the next in the queue is served."""

    async def main() -> None:
        bench, loop = bench_of("a", queue=10), asyncio.get_running_loop()
        first = loop.create_task(bench.ask_and_finish())
        await asyncio.sleep(0.1)
        await bench.ask_and_leave(0.2, stream=False)
        assert bench.tried == [("a", "client_closed")]
        assert await bench.ask_and_finish() == "a"
        assert await first == "a"
        assert bench.calls == {"a": 2}
        bench.assert_nothing_left()

    run_virtually(main())


def test_stream_holds_its_place_to_its_end() -> None:
    """A committed stream counts until it is finished."""

    async def main() -> None:
        bench = bench_of("a")
        bench.upstreams["a"].default = STREAM
        stream = await bench.ask(stream=True)
        with pytest.raises(RouteExhausted):
            await bench.ask(stream=True)
        stream.finish(None)
        (await bench.ask(stream=True)).finish(None)

    run_virtually(main())


def test_reload_keeps_count_of_an_unchanged_upstream() -> None:
    """Requests under way count on after a reload."""

    async def main() -> None:
        bench, loop = bench_of("a"), asyncio.get_running_loop()
        first = loop.create_task(bench.ask_and_finish())
        await asyncio.sleep(0.1)
        lanes = bench.dispatcher._lanes
        bench.dispatcher.replace(
            dict(bench.upstreams), {name: lane.config for name, lane in lanes.items()}
        )
        with pytest.raises(RouteExhausted):
            await bench.ask()
        assert await first == "a"
        bench.upstreams["a"].default = OK
        assert await bench.ask_and_finish() == "a"

    run_virtually(main())
