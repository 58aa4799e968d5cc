"""How connections are bounded, kept, reused and dropped."""

import asyncio
import json
import random

import pytest
from support.fake_answers import CLOSE, Step, answer_text
from support.fake_upstream import FakeUpstream
from support.transport_kit import (
    LOOPS,
    Run,
    body_of,
    chat,
    client,
    fault_of,
    fetch,
    raw,
    read_all,
    run_on,
)

from router.errors import Reason, UpstreamFault
from router.transport import HttpUpstream

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)

HI = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class HandClock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.time_s

    def now_us(self) -> int:
        """Microseconds."""
        return int(self.time_s * 1e6)


def test_connection_is_reused(run: Run) -> None:
    """Requests one after the other share one connection."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            for _ in range(20):
                await fetch(upstream, chat(stream=True))
                assert upstream.statistics() == (0, 1, 0)
        assert fake.connections == 1

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_last_idle_connection_is_taken_first(run: Run) -> None:
    """Connections are reused last in, first out, so that surplus ones can go stale and close."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            held = [await upstream.send(chat(), connect_timeout_s=2) for _ in range(3)]
            for response in held:
                await read_all(response)
            assert upstream.statistics() == (0, 3, 0)
            await fetch(upstream, chat())
            await fetch(upstream, chat())
        assert [seen.connection_no for seen in fake.requests] == [1, 2, 3, 3, 3]

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize(
    "answer",
    [
        (HI + b"surplus",),
        (HI + HI,),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", CLOSE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nsurplus",),
    ],
)
def test_doubtful_connection_is_not_kept(run: Run, answer: tuple[bytes, ...]) -> None:
    """Surplus bytes, Connection: close, HTTP/1.0 and bodies without an end cost the connection."""

    async def scenario(fake: FakeUpstream) -> None:
        fake.script(raw(*answer))
        async with client(fake.url) as upstream:
            assert await fetch(upstream, chat()) == b"hi"
            assert upstream.statistics() == (0, 0, 0)
            assert json.loads(await fetch(upstream, chat()))
        assert fake.connections == 2

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_http_1_0_with_keep_alive_is_kept(run: Run) -> None:
    """HTTP/1.0 that asks for it keeps its connection."""
    answer = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, chat())
            await fetch(upstream, chat())
        assert fake.connections == 1

    with FakeUpstream(raw(answer)) as fake:
        run(scenario(fake))


def test_answer_given_up_costs_its_connection(run: Run) -> None:
    """Releasing before the end of the body closes, and the upstream notices."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            response = await upstream.send(chat("fault:for_ever:tokens"), connect_timeout_s=2)
            response.release()
            assert upstream.statistics() == (0, 0, 0)
            with pytest.raises(UpstreamFault, match="given up"):
                await read_all(response)
            await asyncio.to_thread(fake.wait_for, "aborts", 1)

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_idle_connection_that_gets_bytes_is_dropped(run: Run) -> None:
    """An answer to nothing is never taken for the answer to the next request."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, chat())
            fake.send_unasked(HI)
            assert json.loads(await fetch(upstream, chat()))["object"] == "chat.completion"
        assert fake.connections == 2

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_idle_connection_closed_by_the_upstream_is_dropped(run: Run) -> None:
    """After the upstream hung up, the pool is empty and the next request opens anew."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, chat())
            fake.drop_connections()
            await asyncio.sleep(0.05)
            assert upstream.statistics() == (0, 0, 0)
            await fetch(upstream, chat())

    with FakeUpstream() as fake:
        run(scenario(fake))


@pytest.mark.parametrize("how", ["close", "reset"])
def test_stale_connection_is_replaced_once(run: Run, how: str) -> None:
    """A request that met a dying kept-alive connection is sent again on a new one."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            held = [await upstream.send(chat(), connect_timeout_s=2) for _ in range(3)]
            for response in held:
                await read_all(response)
            fake.script(how)
            assert await fetch(upstream, chat())
            # Not on another idle connection, which may be as stale.
            assert [seen.connection_no for seen in fake.requests] == [1, 2, 3, 3, 4]
            fake.script(how, how)
            fault = await fault_of(upstream, chat())
            assert (fault.reason, fault.sent) == (Reason.UPSTREAM_UNREACHABLE, True)
            assert len(fake.requests) == 7

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_connection_cut_after_a_byte_is_not_replaced(run: Run) -> None:
    """Once a byte of the answer came, a request on a reused connection is not sent again."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, chat())
            fake.script("close_mid_head")
            await fault_of(upstream, chat())
        assert len(fake.requests) == 2

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_late_failure_of_a_reused_connection_is_not_repeated(run: Run) -> None:
    """An upstream that hangs up after a while has worked on the request: it is not sent again."""
    clock = HandClock()

    def works_then_dies(_: object) -> list[Step]:
        clock.time_s += 2
        return [CLOSE]

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, clock=clock) as upstream:
            await fetch(upstream, chat())
            fake.script(works_then_dies)
            fault = await fault_of(upstream, chat())
            assert (fault.reason, fault.sent) == (Reason.UPSTREAM_UNREACHABLE, True)
        assert len(fake.requests) == 2

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_idle_connections_are_not_reused_after_the_idle_timeout(run: Run) -> None:
    """A connection idle for sixty seconds is closed rather than trusted."""

    async def scenario(fake: FakeUpstream) -> None:
        clock = HandClock()
        async with client(fake.url, clock=clock) as upstream:
            await fetch(upstream, chat())
            clock.time_s += 59
            await fetch(upstream, chat())
            clock.time_s += 60
            await fetch(upstream, chat())
        assert [seen.connection_no for seen in fake.requests] == [1, 1, 2]

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_idle_connections_are_swept(run: Run) -> None:
    """Connections that nobody takes are closed without a request having to come."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, idle_timeout_s=0.1) as upstream:
            held = [await upstream.send(chat(), connect_timeout_s=2) for _ in range(3)]
            for response in held:
                await read_all(response)
            assert upstream.statistics().idle == 3
            await asyncio.to_thread(fake.wait_until_idle)
            assert upstream.statistics().idle == 0

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_connections_are_bounded_and_waiters_served_in_turn(run: Run) -> None:
    """More requests than connections wait in order and reuse what comes free."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=2) as upstream:
            bodies = await asyncio.gather(
                *(fetch(upstream, chat("fault:late:0.01", prompt=str(n))) for n in range(20))
            )
            assert all(json.loads(body) for body in bodies)
            assert upstream.statistics() == (0, 2, 0)
        assert fake.connections == 2
        prompts = [int(seen.json["messages"][0]["content"]) for seen in fake.requests]
        assert all(abs(place - prompt) <= 1 for place, prompt in enumerate(prompts))

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_full_queue_is_busy_at_once(run: Run) -> None:
    """With connections and queue full, a request is refused as UPSTREAM_BUSY, unsent."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=1, max_queue=1) as upstream:
            held = await upstream.send(chat(), connect_timeout_s=2)
            waiting = asyncio.ensure_future(fetch(upstream, chat()))
            await asyncio.sleep(0)
            assert upstream.statistics() == (1, 0, 1)
            fault = await fault_of(upstream, chat())
            assert (fault.reason, fault.sent) == (Reason.UPSTREAM_BUSY, False)
            assert "upstreams.primary.max_connections" in str(fault)
            await read_all(held)
            assert await waiting

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_waiting_for_a_connection_is_bounded(run: Run) -> None:
    """A request that gets no connection in time is UPSTREAM_BUSY and leaves the queue."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=1) as upstream:
            held = await upstream.send(chat(), connect_timeout_s=2)
            fault = await fault_of(upstream, chat(), connect_timeout_s=0.05)
            assert (fault.reason, fault.connect_phase) == (Reason.UPSTREAM_BUSY, False)
            assert upstream.statistics() == (1, 0, 0)
            held.release()

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_closing_ends_what_runs_and_what_waits(run: Run) -> None:
    """`aclose` cuts answers, refuses who waits and who comes later, and leaves nothing open."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=2) as upstream:
            running = asyncio.ensure_future(fetch(upstream, chat("fault:stall")))
            body = await upstream.send(chat("fault:for_ever", stream=True), connect_timeout_s=2)
            waiting = asyncio.ensure_future(fetch(upstream, chat()))
            await asyncio.sleep(0.05)
            await upstream.aclose()
            results = await asyncio.gather(running, waiting, read_all(body), return_exceptions=True)
            reasons = [r.reason for r in results if isinstance(r, UpstreamFault)]
            assert reasons == [
                Reason.UPSTREAM_UNREACHABLE,
                Reason.SHUTTING_DOWN,
                Reason.UPSTREAM_UNREACHABLE,
            ]
            assert (await fault_of(upstream, chat())).reason is Reason.SHUTTING_DOWN
            assert upstream.statistics() == (0, 0, 0)
        await asyncio.to_thread(fake.wait_until_idle)

    with FakeUpstream() as fake:
        run(scenario(fake))


async def _storm(upstream: HttpUpstream, count: int, draw: random.Random) -> int:
    """Start and cancel requests at every stage; return how many were cancelled."""
    models = ["m", "fault:stall", "fault:stall_after:role", "fault:for_ever:tokens:0"]
    cancelled = 0
    for _ in range(count // 50):
        tasks = [
            asyncio.ensure_future(fetch(upstream, chat(draw.choice(models), stream=True)))
            for _ in range(50)
        ]
        for task in draw.sample(tasks, len(tasks)):
            if draw.random() < 0.2:
                await asyncio.sleep(draw.choice([0, 0, 0.001]))
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
    return cancelled


def test_no_slot_is_lost_to_ten_thousand_cancellations(run: Run) -> None:
    """However requests are cancelled, all slots come back and later answers are their own."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, max_connections=8, max_queue=64) as upstream:
            cancelled = await _storm(upstream, 10_500, random.Random(7))
            assert cancelled >= 10_000
            statistics = upstream.statistics()
            assert (statistics.in_use, statistics.waiting) == (0, 0)
            held = [await upstream.send(chat(), connect_timeout_s=2) for _ in range(8)]
            assert upstream.statistics().in_use == 8
            for response in held:
                assert json.loads(await read_all(response))
        await asyncio.to_thread(fake.wait_until_idle)

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_no_answer_is_swapped_among_aborts_and_surplus_bytes(run: Run) -> None:
    """With aborted calls and over-long answers about, every answer belongs to its request."""

    async def one(upstream: HttpUpstream, number: int, model: str) -> bool:
        request = chat(model, prompt=str(number))
        answer = json.loads(await fetch(upstream, request))
        expected = answer_text(json.loads(body_of(request)))
        return bool(answer["choices"][0]["message"]["content"] == expected)

    async def scenario(fake: FakeUpstream) -> None:
        draw = random.Random(11)
        async with client(fake.url, max_connections=4, max_queue=100) as upstream:
            for _ in range(20):
                models = draw.choices(["m", "fault:wrong_length:20"], [0.9, 0.1], k=50)
                tasks = [
                    asyncio.ensure_future(one(upstream, n, model)) for n, model in enumerate(models)
                ]
                await asyncio.sleep(0.002)
                for task in draw.sample(tasks, 5):
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                sound = [result for result in results if result is True]
                assert False not in results
                assert len(sound) >= 35

    with FakeUpstream() as fake:
        run(scenario(fake))
