"""Deadlines, budgets, breakers, and clients that leave."""

import asyncio
from typing import Any

import pytest
from support.routing import Bench
from support.scripted_upstream import OK, STREAM, Step, TextCall, refused, reset, status
from support.virtual_time import run_virtually

from router.answer import Answer
from router.errors import Reason, RouteExhausted
from router.outcome import Outcome

SLOW = Step((b"ok",), pause_s=1.0)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _gather(bench: Bench, count: int) -> list[str | RouteExhausted]:
    results = await asyncio.gather(
        *(bench.ask_and_finish() for _ in range(count)), return_exceptions=True
    )
    assert all(isinstance(result, str | RouteExhausted) for result in results)
    return [result for result in results if isinstance(result, str | RouteExhausted)]


@pytest.mark.parametrize("step", [Step(pause_s=1e9), Step((b"o", 1e9)), Step((1.0, b"x") * 999)])
def test_the_total_deadline_bounds_a_plain_answer(step: Step) -> None:
    """A stall anywhere ends at `timeouts.total` exactly, with 504, and no fallback follows."""

    async def main() -> None:
        bench = Bench({"a": step, "b": [OK]}, timeouts={"total": 7.0})
        started_s = _now_s()
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert _now_s() - started_s == pytest.approx(7.0)
        assert (caught.value.status, bench.calls["b"]) == (504, 0)
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_plain_answer_may_take_longer_than_the_first_token() -> None:
    """It arrives whole, so only the total bounds it."""

    async def main() -> None:
        bench = Bench({"a": Step((b"ok",), pause_s=100.0)}, timeouts={"first_token": 1.0})
        assert await bench.ask_and_finish() == "a"

    run_virtually(main())


def test_the_first_token_bounds_each_attempt_of_a_stream() -> None:
    """Comments and roles do not extend it; the next upstream gets its own."""

    async def main() -> None:
        roles = Step((0.5, b"role") * 100)
        timeouts = {"first_token": 10.0, "total": 15.0}
        bench = Bench({"a": roles, "b": roles, "c": [STREAM]}, timeouts=timeouts)
        started_s = _now_s()
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask(stream=True)
        assert [call - started_s for call in bench.upstreams["b"].calls] == [pytest.approx(10.0)]
        assert _now_s() - started_s == pytest.approx(15.0)
        assert caught.value.status == 504
        assert bench.calls["c"] == 0

    run_virtually(main())


def test_a_stream_says_when_its_first_content_came() -> None:
    """`ttft_s` is measured from the start of the winning attempt."""

    async def main() -> None:
        bench = Bench({"a": Step((1.0, b"role", 2.0, b"text", b"stop"), pause_s=0.5)})
        answer = await bench.ask(stream=True)
        assert answer.attempts[0].ttft_s == pytest.approx(3.5)
        assert answer.attempts[0].ended_s is None
        answer.finish(None)
        assert answer.attempts[0].ended_s is not None

    run_virtually(main())


def test_waiting_is_counted_over_all_attempts() -> None:
    """`upstream_s` holds failed attempts, the waits between, and the answer to its end."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": Step((1.0, b"text", b"stop"), pause_s=2.0)})
        bench.upstreams["a"].default = Step((b"no",), 500, pause_s=4.0)
        answer = await bench.ask(stream=True)
        await asyncio.sleep(8.0)
        answer.finish(None)
        assert bench.outcome.upstream_s == pytest.approx(15.0)

    run_virtually(main())


@pytest.mark.parametrize("code", [429, 503])
def test_a_retry_after_that_fits_is_waited_for(code: int) -> None:
    """With nobody else to ask, the same upstream is asked again when it said."""

    async def main() -> None:
        bench = Bench({"a": [status(code, retry_after=20.0), OK]})
        assert await bench.ask_and_finish() == "a"
        first_s, second_s = bench.upstreams["a"].calls
        assert 20.0 <= second_s - first_s <= 20.25

    run_virtually(main())


@pytest.mark.parametrize("retry_after", [300.0, 1e9])
def test_a_retry_after_past_the_deadline_is_passed_on_at_once(retry_after: float) -> None:
    """Nobody sleeps past the deadline."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=retry_after)}, timeouts={"total": 300.0})
        started_s = _now_s()
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert (_now_s() - started_s, caught.value.retry_after_s) == (0.0, retry_after)

    run_virtually(main())


@pytest.mark.parametrize("retry_after", [0.0, -1.0])
def test_a_retry_after_of_nothing_means_now(retry_after: float) -> None:
    """Zero and negative times wait for the jitter alone."""

    async def main() -> None:
        bench = Bench({"a": [status(429, retry_after=retry_after), OK]})
        started_s = _now_s()
        assert await bench.ask_and_finish() == "a"
        assert _now_s() - started_s <= 0.025

    run_virtually(main())


def test_a_fallback_is_preferred_to_waiting() -> None:
    """With another upstream left, nobody waits for a 429."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=20.0), "b": [OK]})
        started_s = _now_s()
        assert (await bench.ask_and_finish(), _now_s() - started_s) == ("b", 0.0)

    run_virtually(main())


@pytest.mark.parametrize(("budget", "repeated"), [(0.2, 3), (0.5, 4), (1.0, 6)])
def test_repeats_stay_within_the_budget(budget: float, repeated: int) -> None:
    """Of 12 requests at once half fail: a share may repeat, the rest hear that it is spent."""

    async def main() -> None:
        fault = reset().fault
        steps = [
            Step((b"ok",), pause_s=1.0 + i / 100, fault=(None, fault)[i % 2]) for i in range(12)
        ]
        bench = Bench({"a": steps, "b": SLOW}, retry={"budget": budget})
        results = await _gather(bench, 12)
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
            assert await _gather(bench, count) == ["b"] * count
        assert bench.dispatcher.statistics().breakers == {"a": "open", "b": "closed"}
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_full_outage_is_not_amplified() -> None:
    """With everything down, upstreams get at most 1.2 requests for each of the clients'."""

    async def main() -> None:
        bench = Bench({"a": reset(), "b": reset()})
        for _ in range(50):
            await _gather(bench, 10)
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
        answered = await _gather(bench, 10)
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


async def _cancel_after(bench: Bench, wait_s: float, *, stream: bool) -> None:
    bench.outcome = Outcome()
    call = bench.dispatcher.run(bench.plan, TextCall(stream=stream), bench.outcome)
    task = asyncio.get_running_loop().create_task(call)
    await asyncio.sleep(wait_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("step", [Step(pause_s=9.0), Step((b"role", 9.0))])
def test_a_client_that_leaves_frees_everything(step: Step, stream: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """The attempt under way ends as `client_closed`; ones that failed before stay recorded."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": step})
        await _cancel_after(bench, 1.0, stream=stream)
        assert bench.tried == [("a", "upstream_error"), ("b", "client_closed")]
        assert bench.outcome.upstream_s == pytest.approx(1.0)
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_client_that_leaves_between_attempts_frees_everything() -> None:
    """The wait for a Retry-After ends with the client."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=60.0)})
        await _cancel_after(bench, 10.0, stream=False)
        assert bench.tried == [("a", "upstream_limited")]
        assert bench.outcome.upstream_s == pytest.approx(10.0)
        bench.assert_nothing_left()

    run_virtually(main())


def test_clients_that_leave_do_not_open_a_breaker() -> None:
    """A hundred disconnects in a row are no fault of the upstream."""

    async def main() -> None:
        bench = Bench({"a": Step(pause_s=9.0)})
        for _ in range(100):
            await _cancel_after(bench, 0.1, stream=True)
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
        await _cancel_after(bench, 0.1, stream=False)
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


def test_finishing_twice_counts_once() -> None:
    """The first word stands."""

    async def main() -> None:
        bench = Bench({"a": STREAM})
        answer = await bench.ask(stream=True)
        assert bench.dispatcher.statistics().active == 1
        answer.finish(None)
        answer.finish(Reason.STREAM_INTERRUPTED)
        assert bench.tried == [("a", None)]
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_complete_answer_is_its_upstreams_success_whatever_the_client_does() -> None:
    """It ended before the client left, and its connection was given back already."""

    async def main() -> None:
        bench = Bench({"a": OK})
        answer = await bench.ask()
        assert bench.upstreams["a"].open == 0
        answer.finish(Reason.CLIENT_CLOSED)
        assert bench.tried == [("a", None)]
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_short_stream_that_ends_with_its_first_read_is_complete_later() -> None:
    """The commit point comes first: the holder reads the end."""

    async def main() -> None:
        bench = Bench({"a": Step((b"stop",))})
        answer = await bench.ask(stream=True)
        assert (answer.chunks, answer.complete) == ([b"stop"], False)
        assert answer.response is not None
        assert await answer.response.read() == b""
        answer.finish(None)

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
