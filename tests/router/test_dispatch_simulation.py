"""Many seeded fault schedules in virtual time: whatever happens, the invariants hold."""

import asyncio
from random import Random

import pytest
from support.routing import Bench
from support.scripted_upstream import OK, STREAM, Step, TextCall, refused, reset, status
from support.virtual_time import run_virtually

from router.errors import RouteExhausted
from router.outcome import Outcome

REQUESTS = 60
TOTAL_S = 20.0
PLAIN = [
    OK,
    Step((b"ok",), pause_s=3.0),
    Step((b"o", 2.0, b"k")),
    Step(pause_s=1e9),
    Step((b"{",)),
    status(400),
    status(429, retry_after=2.0),
    status(500),
    refused(),
    reset(),
]
STREAMED = [STREAM, Step((b"role", 2.0, b"text")), Step((b"role", 1e9)), Step((b"error",))]
TOLD = {
    ("upstream_unreachable", 502),
    ("upstream_invalid", 502),
    ("upstream_timeout", 504),
    ("upstream_limited", 429),
    ("no_upstream", 503),
}


def _bench(rng: Random) -> Bench:
    good = rng.choice([0.0, 0.5, 0.9])
    scripts: dict[str, list[Step] | Step | None] = {}
    for name in ("a", "b", "local")[: rng.randint(1, 3)]:
        kinds = rng.choices([*PLAIN, *STREAMED], k=4)
        steps = [OK if rng.random() < good else rng.choice(kinds) for _ in range(200)]
        scripts[name] = rng.choice([steps, steps, rng.choice(kinds), None])
    timeouts = {"first_token": 5.0, "total": TOTAL_S}
    return Bench(scripts, seed=rng.randrange(2**32), timeouts=timeouts, retry={"attempts": 3})


async def _client(bench: Bench, rng: Random) -> None:
    await asyncio.sleep(rng.random() * 30.0)
    told = None
    outcome, patience_s = Outcome(), rng.choice([1.0, 100.0, 100.0])
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    call = TextCall(stream=rng.random() < 0.5)
    try:
        async with asyncio.timeout(patience_s):
            answer = await bench.dispatcher.run(bench.plan, call, outcome)
    except TimeoutError:
        assert outcome.attempts[-1].reason is not None
    except RouteExhausted as error:
        told = error.reason.value, error.status
    else:
        await asyncio.sleep(0.0 if answer.complete else rng.random())
        answer.finish(None)
        assert outcome.attempts[-1].reason in {None, "upstream_rejected"}
        assert len(outcome.attempts) <= 3 + len(answer.trip.plan.candidates)
    if told is not None:
        assert told in TOLD
        assert all(attempt.reason is not None for attempt in outcome.attempts)
    assert loop.time() - started_s <= TOTAL_S + 1.0 + 1e-6
    assert all(attempt.ended_s is not None for attempt in outcome.attempts)


@pytest.mark.parametrize("batch", range(8))
def test_every_request_ends_in_time_and_leaves_nothing(batch: int) -> None:
    """Answers, errors and leaving clients: no connection, permit or request is ever left over."""
    for seed in range(batch * 25, batch * 25 + 25):
        rng = Random(seed)

        async def main(rng: Random = rng) -> None:
            bench = _bench(rng)
            async with asyncio.TaskGroup() as clients:
                for _ in range(REQUESTS):
                    clients.create_task(_client(bench, rng))
            bench.assert_nothing_left()

        try:
            run_virtually(main())
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
