"""Deadlines, waits, and clients that leave."""

import asyncio

import pytest
from support.routing import Bench
from support.scripted_upstream import OK, STREAM, Step, status
from support.virtual_time import run_virtually

from router.errors import Reason, RouteExhausted


def _now_s() -> float:
    return asyncio.get_running_loop().time()


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
        assert 0.0 < _now_s() - started_s <= 0.025

    run_virtually(main())


def test_a_fallback_is_preferred_to_waiting() -> None:
    """With another upstream left, nobody waits for a 429."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=20.0), "b": [OK]})
        started_s = _now_s()
        assert (await bench.ask_and_finish(), _now_s() - started_s) == ("b", 0.0)

    run_virtually(main())


def test_connecting_is_bounded_by_what_is_left() -> None:
    """The connect timeout never reaches past the total deadline."""

    async def main() -> None:
        slow = Step((b"no",), 500, pause_s=9.0)
        bench = Bench({"a": slow, "b": OK}, timeouts={"connect": 2.0, "total": 10.0})
        assert await bench.ask_and_finish() == "b"
        assert bench.upstreams["a"].connect_timeouts_s == [2.0]
        assert bench.upstreams["b"].connect_timeouts_s == [pytest.approx(1.0)]

    run_virtually(main())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("step", [Step(pause_s=9.0), Step((b"role", 9.0))])
def test_a_client_that_leaves_frees_everything(step: Step, stream: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """The attempt under way ends as `client_closed`; ones that failed before stay recorded."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": step})
        await bench.ask_and_leave(1.0, stream=stream)
        assert bench.tried == [("a", "upstream_error"), ("b", "client_closed")]
        assert bench.outcome.upstream_s == pytest.approx(1.0)
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_client_that_leaves_between_attempts_frees_everything() -> None:
    """The wait for a Retry-After ends with the client."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=60.0)})
        await bench.ask_and_leave(10.0, stream=False)
        assert bench.tried == [("a", "upstream_limited")]
        assert bench.outcome.upstream_s == pytest.approx(10.0)
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
