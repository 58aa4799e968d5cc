"""The column `before the commit point`: what is tried after each fault, and where."""

import pytest
from support.routing import Bench
from support.scripted_upstream import OK, STREAM, Step, TextCall, refused, reset, status
from support.virtual_time import run_virtually

from router.errors import Reason, RouteExhausted, UpstreamFault

FAILS = {
    "refused, DNS or TLS": (refused(), "upstream_unreachable"),
    "reset before the head": (reset(), "upstream_unreachable"),
    "garbage": (
        Step(fault=UpstreamFault("no HTTP", reason=Reason.UPSTREAM_INVALID)),
        "upstream_invalid",
    ),
    "500": (status(500), "upstream_error"),
    "503": (status(503), "upstream_error"),
    "408": (status(408), "upstream_timeout"),
    "429": (status(429), "upstream_limited"),
    "redirect": (status(302), "upstream_invalid"),
    "HTML": (Step((b"<html>",), headers=((b"content-type", b"text/html"),)), "upstream_invalid"),
    "our queue is full": (
        Step(fault=UpstreamFault("busy", reason=Reason.UPSTREAM_BUSY, sent=False)),
        "upstream_busy",
    ),
}
FAILS_PLAIN = FAILS | {
    "empty 200": (Step(()), "upstream_invalid"),
    "rubbish": (Step((b"{",)), "upstream_invalid"),
    "cut body": (
        Step((b"o", UpstreamFault("cut", reason=Reason.UPSTREAM_UNREACHABLE))),
        "upstream_unreachable",
    ),
    "too long": (Step((b"x" * 600, b"x" * 600)), "upstream_invalid"),
    "stall for ever": (Step((1e9,)), None),
}
FAILS_STREAM = FAILS | {
    "empty 200": (Step(()), "stream_interrupted"),
    "unparsable first event": (Step((b"{",)), "upstream_invalid"),
    "error as first event": (Step((b"error",)), "upstream_error"),
    "cut before content": (
        Step((b"role", UpstreamFault("cut", reason=Reason.UPSTREAM_UNREACHABLE))),
        "upstream_unreachable",
    ),
    "clean end before content": (Step((b"role",)), "stream_interrupted"),
    "error after the role": (Step((b"role", b"error")), "upstream_error"),
    "head never comes": (Step(pause_s=1e9), "upstream_timeout"),
    "content never comes": (Step((b"role", 1e9)), "upstream_timeout"),
    "roles without end": (Step((0.01, b"role") * 500), "upstream_invalid"),
}


def _connects(name: str) -> bool:
    return name == "refused, DNS or TLS"


@pytest.mark.parametrize("name", [name for name in FAILS_PLAIN if FAILS_PLAIN[name][1]])
def test_a_plain_answers_fault_goes_on_to_the_next(name: str) -> None:
    """A connect-phase error is repeated there once; everything else moves on at once."""
    step, reason = FAILS_PLAIN[name]

    async def main() -> None:
        bench = Bench({"a": step, "b": [OK]})
        answer = await bench.ask()
        tries = 2 if _connects(name) else 1
        assert bench.tried == [("a", reason)] * tries + [("b", None)]
        assert (answer.chunks, answer.complete, answer.fallback_from) == ([b"ok"], True, "a")
        answer.finish(None)
        bench.assert_nothing_left()

    run_virtually(main())


@pytest.mark.parametrize("name", FAILS_STREAM)
def test_a_streams_fault_before_content_goes_on_to_the_next(name: str) -> None:
    """Nothing was shown, so the next upstream's stream is shown whole."""
    step, reason = FAILS_STREAM[name]

    async def main() -> None:
        bench = Bench({"a": step, "b": [STREAM]})
        answer = await bench.ask(stream=True)
        tries = 2 if _connects(name) else 1
        assert bench.tried == [("a", reason)] * tries + [("b", None)]
        assert (answer.chunks, answer.complete) == ([b"role", b"text"], False)
        answer.finish(None)
        bench.assert_nothing_left()

    run_virtually(main())


@pytest.mark.parametrize(
    ("step", "code", "reason"),
    [
        (refused(), 502, Reason.UPSTREAM_UNREACHABLE),
        (reset(), 502, Reason.UPSTREAM_UNREACHABLE),
        (status(302), 502, Reason.UPSTREAM_INVALID),
        (status(500), 502, Reason.UPSTREAM_INVALID),
        (Step(()), 502, Reason.UPSTREAM_INVALID),
        (status(401), 502, Reason.UPSTREAM_AUTH),
        (status(408), 504, Reason.UPSTREAM_TIMEOUT),
        (Step(pause_s=1e9), 504, Reason.UPSTREAM_TIMEOUT),
        (status(429), 429, Reason.UPSTREAM_LIMITED),
        (FAILS["our queue is full"][0], 429, Reason.UPSTREAM_BUSY),
        (None, 503, Reason.NO_UPSTREAM),
    ],
)
def test_what_the_client_is_told_when_all_fail(
    step: Step | None, code: int, reason: Reason
) -> None:
    """Every way to fail has its status and word, and none is 500."""

    async def main() -> None:
        bench = Bench({"a": step, "b": step})
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert (caught.value.status, caught.value.reason) == (code, reason)
        assert caught.value.attempts == tuple(bench.outcome.attempts)
        bench.assert_nothing_left()

    run_virtually(main())


def test_the_telling_fault_wins_over_a_429() -> None:
    """429 only if all said 429: here one could not be reached."""

    async def main() -> None:
        bench = Bench({"a": refused(), "b": status(429)})
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert (caught.value.status, caught.value.retry_after_s) == (502, None)

    run_virtually(main())


def test_the_last_telling_fault_is_what_the_client_hears() -> None:
    """A broken answer, then nobody there: it is the latter that matters now."""

    async def main() -> None:
        bench = Bench({"a": status(500), "b": refused()})
        with pytest.raises(RouteExhausted, match="connection refused") as caught:
            await bench.ask()
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE

    run_virtually(main())


def test_all_429_pass_on_the_shortest_retry_after() -> None:
    """The client may come back when the first of them may."""

    async def main() -> None:
        bench = Bench({"a": status(429, retry_after=900), "b": status(429, retry_after=400)})
        with pytest.raises(RouteExhausted) as caught:
            await bench.ask()
        assert (caught.value.status, caught.value.retry_after_s) == (429, 400.0)
        assert bench.calls == {"a": 1, "b": 1}

    run_virtually(main())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", [400, 404, 413, 422])
def test_a_callers_error_passes_and_is_never_repeated(code: int, stream: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """Status and body stay, the fallback is not asked, the breaker hears nothing."""

    async def main() -> None:
        bench = Bench({"a": status(code), "b": [OK]})
        for _ in range(40):
            answer = await bench.ask(stream=stream)
            assert (answer.status, answer.chunks, answer.complete) == (code, [b"no"], True)
            answer.finish(None)
        assert bench.tried == [("a", "upstream_rejected")]
        assert bench.calls == {"a": 40, "b": 0}
        assert bench.dispatcher.statistics().breakers["a"] == "closed"
        bench.assert_nothing_left()

    run_virtually(main())


def test_a_refused_key_ends_the_request() -> None:
    """401 is the operator's to mend: 502, no fallback that hides it, no open breaker."""

    async def main() -> None:
        bench = Bench({"a": status(401), "b": [OK]})
        for _ in range(40):
            with pytest.raises(RouteExhausted) as caught:
                await bench.ask()
        assert caught.value.reason is Reason.UPSTREAM_AUTH
        assert bench.calls == {"a": 40, "b": 0}
        assert bench.dispatcher.statistics().breakers["a"] == "closed"

    run_virtually(main())


def test_an_upstream_that_is_not_there_is_passed_over() -> None:
    """A configured engine that is not installed costs no attempt."""

    async def main() -> None:
        bench = Bench({"a": None, "b": [OK]})
        answer = await bench.ask()
        assert bench.tried == [("b", None)]
        assert answer.fallback_from == "a"
        answer.finish(None)

    run_virtually(main())


def test_the_engine_answers_last() -> None:
    """With every upstream down the engine's answer is the client's."""

    async def main() -> None:
        bench = Bench({"a": status(500), "local": [OK], "b": reset()})
        answer = await bench.ask()
        assert [name for name, _ in bench.tried] == ["a", "b", "local"]
        answer.finish(None)

    run_virtually(main())


def test_attempts_bound_the_repeats_before_the_fallback() -> None:
    """`retry.attempts` is the number of tries in all; 1 never repeats."""

    async def main() -> None:
        for attempts, tries in ((1, 1), (3, 3)):
            retry = {"attempts": attempts}
            bench = Bench({"a": refused(), "b": [OK]}, retry=retry)
            (await bench.ask()).finish(None)
            assert bench.calls == {"a": tries, "b": 1}

    run_virtually(main())


def test_a_vanished_upstream_without_a_fallback_is_asked_once_more() -> None:
    """No byte of an answer came, so the request may be sent again: once, whatever `attempts`."""

    async def main() -> None:
        bench = Bench({"a": reset()}, retry={"attempts": 5})
        with pytest.raises(RouteExhausted):
            await bench.ask()
        assert bench.calls == {"a": 2}
        bench = Bench({"a": [reset(), OK]})
        assert (await bench.ask_and_finish(), bench.calls) == ("a", {"a": 2})

    run_virtually(main())


def test_a_connect_error_between_does_not_make_it_twice() -> None:
    """Sent, refused, sent: the request may have reached the upstream twice, never three times."""

    async def main() -> None:
        bench = Bench({"a": [reset(), refused(), reset()]}, retry={"attempts": 5})
        with pytest.raises(RouteExhausted):
            await bench.ask()
        assert bench.calls == {"a": 3}

    run_virtually(main())


@pytest.mark.parametrize("name", ["500", "429", "408", "cut body", "rubbish", "redirect"])
def test_an_answer_that_began_is_not_asked_for_again(name: str) -> None:
    """Without a fallback the same upstream gets no second request."""

    async def main() -> None:
        bench = Bench({"a": FAILS_PLAIN[name][0]}, retry={"attempts": 5})
        with pytest.raises(RouteExhausted):
            await bench.ask()
        assert bench.calls == {"a": 1}

    run_virtually(main())


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_repeats_wait_with_full_jitter(attempt: int) -> None:
    """Before repeat n the wait is somewhere under 25 ms doubled n - 1 times."""
    limit_s = 0.025 * 2 ** (attempt - 1)

    async def main() -> list[float]:
        waits = []
        for seed in range(40):
            bench = Bench({"a": refused()}, seed=seed, retry={"attempts": 10})
            with pytest.raises(RouteExhausted):
                await bench.ask()
            calls = bench.upstreams["a"].calls
            waits.append(calls[attempt] - calls[attempt - 1])
        return waits

    waits = run_virtually(main())
    assert max(waits) <= limit_s
    assert max(waits) > 0.8 * limit_s
    assert min(waits) < 0.2 * limit_s


def test_an_upstream_that_does_not_speak_the_operation_is_passed_over() -> None:
    """The next candidate that does is asked, without a permit."""
    bench = Bench({"a": OK, "b": OK})

    async def ask() -> str:
        call = TextCall(unsuited=("a",))
        answer = await bench.dispatcher.run(bench.plan, call, bench.outcome)
        answer.finish(None)
        return answer.upstream.name

    assert run_virtually(ask()) == "b"
    assert bench.calls == {"a": 0, "b": 1}
    bench.assert_nothing_left()


def test_nobody_who_speaks_the_operation_is_a_404() -> None:
    """It is not a question of waiting, so the client is not told to come back."""
    bench = Bench({"a": OK, "b": OK})

    async def ask() -> None:
        call = TextCall(unsuited=("a", "b"))
        await bench.dispatcher.run(bench.plan, call, bench.outcome)

    with pytest.raises(RouteExhausted) as caught:
        run_virtually(ask())
    assert (caught.value.status, caught.value.reason) == (404, Reason.NOT_FOUND)
    assert caught.value.retry_after_s is None
    bench.assert_nothing_left()


@pytest.mark.parametrize(
    ("step", "tried"), [(reset(), ["a"]), (status(503), ["a"]), (refused(), ["a", "a", "b"])]
)
def test_what_may_have_been_done_is_not_asked_for_again(step: Step, tried: list[str]) -> None:
    """A call that is not repeatable moves on only while nothing of it was sent."""
    bench = Bench({"a": step, "b": OK})

    async def ask() -> None:
        call = TextCall(repeatable=False)
        answer = await bench.dispatcher.run(bench.plan, call, bench.outcome)
        answer.finish(None)

    if tried == ["a"]:
        with pytest.raises(RouteExhausted):
            run_virtually(ask())
    else:
        run_virtually(ask())
    assert [upstream for upstream, _ in bench.tried] == tried
    bench.assert_nothing_left()
