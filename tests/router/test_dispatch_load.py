"""Retry budgets and breakers: what many requests do to upstreams that fail."""

import asyncio
from typing import Any

import pytest
from support.routing import Bench
from support.scripted_upstream import OK, STREAM, Step, refused, reset, status
from support.virtual_time import run_virtually

from router.answer import Answer
from router.breaker import Breaker, Phase, State
from router.budget import RetryBudget
from router.errors import Reason, RouteExhausted

SLOW = Step((b"ok",), pause_s=1.0)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("budget", "repeated"), [(0.2, 3), (0.5, 4), (1.0, 6)])
def test_repeats_stay_within_the_budget(budget: float, repeated: int) -> None:
    """Of 12 requests at once half fail: a share may repeat, the rest hear that it is spent."""

    async def main() -> None:
        fault = reset().fault
        steps = [
            Step((b"ok",), pause_s=1.0 + i / 100, fault=(None, fault)[i % 2]) for i in range(12)
        ]
        bench = Bench({"a": steps, "b": SLOW}, retry={"budget": budget})
        results = await bench.ask_at_once(12)
        denied = [result for result in results if isinstance(result, RouteExhausted)]
        assert (results.count("b"), len(denied)) == (repeated, 6 - repeated)
        assert all(error.budget_spent and error.status == 502 for error in denied)
        assert bench.dispatcher.statistics().denied == len(denied)
        bench.assert_nothing_left()

    run_virtually(main())


def test_an_outage_is_no_repeat() -> None:
    """When one of two upstreams dies under load, all are answered by the other."""

    async def main() -> None:
        bench = Bench({"a": reset(), "b": SLOW})
        for count in (4, 60, 60):
            assert await bench.ask_at_once(count) == ["b"] * count
        assert bench.dispatcher.statistics().breakers == {"a": "open", "b": "closed"}
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_full_outage_is_not_amplified() -> None:
    """With everything down, upstreams get at most 1.2 requests for each of the clients'."""

    async def main() -> None:
        bench = Bench({"a": reset(), "b": reset()})
        for _ in range(50):
            await bench.ask_at_once(10)
            await asyncio.sleep(0.1)
        assert sum(bench.calls.values()) <= 1.2 * 500
        bench.assert_nothing_left()

    run_virtually(main())


def test_an_open_breaker_is_passed_over() -> None:
    """After five faults the dead upstream is not asked until its time, then by one request."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": OK})
        for _ in range(20):
            assert await bench.ask_and_finish() == "b"
        assert bench.calls["a"] == 5
        bench.upstreams["a"].default = SLOW
        await asyncio.sleep(5.0)
        answered = await bench.ask_at_once(10)
        assert sorted(str(name) for name in answered) == ["a"] + ["b"] * 9
        assert await bench.ask_and_finish() == "a"

    run_virtually(main())


def test_the_last_upstream_is_never_shut_out() -> None:
    """With every breaker open the one that reopens first is tried, once, and may close."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": status(500)})
        for _ in range(20):
            with pytest.raises(RouteExhausted) as caught:
                await bench.ask()
        assert caught.value.status == 502
        assert set(bench.dispatcher.statistics().breakers.values()) == {"open"}
        before = dict(bench.calls)
        bench.upstreams["a"].default = bench.upstreams["b"].default = OK
        assert await bench.ask_and_finish() == "a"
        assert sum(bench.calls.values()) == sum(before.values()) + 1
        assert bench.dispatcher.statistics().breakers["a"] == "closed"

    run_virtually(main())


def test_an_engine_that_crashes_gets_its_pause() -> None:
    """It alone is left and its breaker is open: 503 with the time it takes, and no attempt."""

    async def main() -> None:
        bench = Bench({"local": refused()}, retry={"attempts": 1})
        for _ in range(5):
            with pytest.raises(RouteExhausted):
                await bench.ask()
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert (caught.value.status, caught.value.reason) == (503, Reason.NO_UPSTREAM)
        assert 4.0 <= (caught.value.retry_after_s or 0.0) <= 5.0
        assert (bench.tried, bench.calls) == ([], {"local": 5})

    run_virtually(main())


def test_a_ready_engine_stands_in_for_shut_out_upstreams() -> None:
    """No upstream is forced while the engine can answer."""

    async def main() -> None:
        bench = Bench({"a": status(500), "local": OK})
        for _ in range(30):
            assert await bench.ask_and_finish() == "local"
        assert bench.calls == {"a": 5, "local": 30}

    run_virtually(main())


def _breaker(bench: Bench, name: str) -> Breaker:
    return bench.dispatcher._lanes[name].breaker


def test_a_forced_attempt_is_made_once_without_a_wait() -> None:
    """Even a refused connection is not repeated while every breaker is open."""

    async def main() -> None:
        bench = Bench({"a": refused()})
        _breaker(bench, "a").state = State(Phase.OPEN, retry_at_s=_now_s() + 60.0)
        started_s = _now_s()
        with pytest.raises(RouteExhausted):
            await bench.ask()
        assert (bench.calls, _now_s() - started_s) == ({"a": 1}, 0.0)
        assert bench.dispatcher.statistics().denied == 0

    run_virtually(main())


def test_a_breaker_that_opens_during_the_wait_ends_the_repeats() -> None:
    """The fifth fault in a row was this one: the repeat is not made, the fallback is asked."""

    async def main() -> None:
        bench = Bench({"a": refused(), "b": OK})
        _breaker(bench, "a").state = State(faults_in_a_row=4)
        assert await bench.ask_and_finish() == "b"
        assert bench.calls == {"a": 1, "b": 1}

    run_virtually(main())


async def _ask_without_permits(bench: Bench) -> str | RouteExhausted:
    budget = bench.dispatcher._budgets["chat"] = RetryBudget()
    budget.repeats = 3
    return (await bench.ask_at_once(1))[0]


@pytest.mark.parametrize(
    ("failed", "target", "free"), [(2, 0, True), (2, 3, False), (0, 0, False), (0, 3, False)]
)
def test_only_leaving_a_failing_upstream_for_a_sound_one_is_free(
    failed: int,
    target: int,
    free: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """With the budget spent, faults in a row on either side decide; the third one is now."""

    async def main() -> None:
        bench = Bench({"a": reset(), "b": OK})
        _breaker(bench, "a").state = State(faults_in_a_row=failed)
        _breaker(bench, "b").state = State(faults_in_a_row=target)
        result = await _ask_without_permits(bench)
        assert (result == "b") is free
        assert bench.calls["b"] == int(free)

    run_virtually(main())


def test_a_probe_that_the_budget_denies_leaves_its_place() -> None:
    """The breaker does not stay half open for a request that was never sent."""

    async def main() -> None:
        bench = Bench({"a": [reset()], "b": OK})
        _breaker(bench, "b").state = State(Phase.OPEN)
        assert isinstance(await _ask_without_permits(bench), RouteExhausted)
        assert bench.calls["b"] == 0
        assert _breaker(bench, "b").is_ready

    run_virtually(main())


def test_a_probe_closes_the_breaker_with_its_first_content() -> None:
    """While that stream goes on, other requests pass again."""

    async def main() -> None:
        bench = Bench({"a": STREAM, "b": OK})
        _breaker(bench, "a").state = State(Phase.OPEN)
        probe = await bench.ask(stream=True)
        assert bench.dispatcher.statistics().breakers["a"] == "closed"
        probe.finish(None)

    run_virtually(main())


def test_clients_that_leave_do_not_open_a_breaker() -> None:
    """A hundred disconnects in a row are no fault of the upstream."""

    async def main() -> None:
        bench = Bench({"a": Step(pause_s=9.0)})
        for _ in range(100):
            await bench.ask_and_leave(0.1, stream=True)
        assert bench.dispatcher.statistics().breakers == {"a": "closed"}
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_probe_whose_client_leaves_is_followed_by_another() -> None:
    """The breaker does not stay half open."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": OK})
        for _ in range(5):
            await bench.ask_and_finish()
        await asyncio.sleep(5.0)
        bench.upstreams["a"].default = SLOW
        await bench.ask_and_leave(0.1, stream=False)
        assert await bench.ask_and_finish() == "a"

    run_virtually(main())


async def _end_streams(bench: Bench, count: int, reason: Reason | None) -> list[Answer]:
    answers = [await bench.ask(stream=True) for _ in range(count)]
    for answer in answers:
        answer.finish(reason)
    return answers


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        (Reason.STREAM_INTERRUPTED, "open"),
        (Reason.STREAM_TIMEOUT, "open"),
        (Reason.CLIENT_CLOSED, "closed"),
        (None, "closed"),
    ],
)
def test_how_streams_end_reaches_the_breaker(reason: Reason | None, phase: str) -> None:
    """Five that break after the commit point open it; clients that leave do not."""

    async def main() -> None:
        bench = Bench({"a": STREAM})
        answers = await _end_streams(bench, 5, reason)
        assert bench.dispatcher.statistics().breakers == {"a": phase}
        assert {answer.attempts[0].reason for answer in answers} == {reason}
        bench.assert_nothing_left()

    run_virtually(main())


def test_replaced_upstreams_keep_the_breakers_of_the_unchanged() -> None:
    """A reload forgets no outage, and an upstream with a new address starts afresh."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": OK})
        for _ in range(5):
            await bench.ask_and_finish()
        upstreams: dict[str, Any] = dict(bench.upstreams)
        configs = {name: lane.config for name, lane in bench.dispatcher._lanes.items()}
        bench.dispatcher.replace(upstreams, configs)
        assert bench.dispatcher.statistics().breakers["a"] == "open"
        configs["a"] = configs["a"].model_copy(update={"url": "http://new.invalid/v1"})
        bench.dispatcher.replace(upstreams, configs)
        assert bench.dispatcher.statistics().breakers["a"] == "closed"

    run_virtually(main())
