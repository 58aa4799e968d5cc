"""When a worker is full, and how late its event loop is."""

import asyncio
import time

import pytest
from support.virtual_time import LoopClock, ManualClock, run_virtually

from gateway.config import LimitsConfig
from gateway.errors import Overloaded
from gateway.loop_lag import TICK_S, LoopLag
from gateway.overload import MIN_LIMIT, OverloadGate
from router.clock import SystemClock


def gate_of(**limits: object) -> OverloadGate:
    """Return a gate on the loop's time."""
    clock = LoopClock()
    return OverloadGate(LimitsConfig.model_validate(limits), clock, LoopLag(clock))


async def answer(gate: OverloadGate, service_s: float) -> str:
    """Be admitted, take some time, leave."""
    if not gate.try_enter():
        await gate.wait()
    try:
        await asyncio.sleep(service_s)
    finally:
        gate.leave()
    return "answered"


def test_short_burst_waits_instead_of_failing() -> None:
    """Twice as many requests as may run at once are all answered."""

    async def main() -> None:
        gate = gate_of(in_flight=10, queue=10, queue_wait="1s")
        results = await asyncio.gather(*(answer(gate, 0.5) for _ in range(20)))
        assert results == ["answered"] * 20
        assert gate.statistics() == (0, 0, 0, 10)

    run_virtually(main())


def test_beyond_the_queue_requests_are_refused() -> None:
    """What neither runs nor may wait is refused with a word about the settings."""

    async def main() -> None:
        gate = gate_of(in_flight=2, queue=3)
        results = await asyncio.gather(
            *(answer(gate, 0.1) for _ in range(8)), return_exceptions=True
        )
        assert results[:5] == ["answered"] * 5
        assert [type(result) for result in results[5:]] == [Overloaded] * 3
        assert "gateway.limits.in_flight" in str(results[5])
        assert gate.statistics().refused == 3

    run_virtually(main())


def test_nobody_waits_longer_than_allowed() -> None:
    """A request that finds no room in `queue_wait` is refused then."""

    async def main() -> None:
        gate, loop = gate_of(in_flight=1, queue_wait="500ms"), asyncio.get_running_loop()
        slow = loop.create_task(answer(gate, 10.0))
        await asyncio.sleep(0)
        began_s = loop.time()
        with pytest.raises(Overloaded):
            await answer(gate, 0.0)
        assert loop.time() - began_s == pytest.approx(0.5)
        await slow

    run_virtually(main())


def test_late_loop_lets_fewer_in_and_more_again_when_it_is_in_time() -> None:
    """The limit falls by a fifth of those inside a tick, never below a floor, and recovers."""

    async def main() -> None:
        gate, loop = gate_of(in_flight=1000, queue=500, loop_lag="50ms"), asyncio.get_running_loop()
        tasks = [loop.create_task(answer(gate, 0.1 + number / 1000)) for number in range(400)]
        await asyncio.sleep(0)
        gate.lag.observe(0.06)
        assert gate.statistics().limit == 1000
        gate.lag.observe(0.06)
        assert gate.statistics().limit == 320
        late = loop.create_task(answer(gate, 0.0))
        await asyncio.sleep(0.05)
        assert gate.statistics()[:2] == (400, 1)
        await asyncio.sleep(0.15)
        assert late.done()
        gate.lag.observe(0.06)
        assert gate.statistics().limit < 320
        assert await asyncio.gather(*tasks) == ["answered"] * 400
        gate.lag.observe(0.06)
        assert gate.statistics().limit == MIN_LIMIT
        for _ in range(40):
            gate.lag.observe(0.0)
        assert gate.statistics().limit == 1000

    run_virtually(main())


def test_who_stays_long_does_not_shut_the_others_out() -> None:
    """However long the loop is late, the limit stays near those inside: as one leaves, one enters.

    Streams stay for minutes; a limit that fell on beneath them would admit nobody for as long.
    """

    async def main() -> None:
        gate, loop = gate_of(in_flight=1000, loop_lag="50ms"), asyncio.get_running_loop()
        streams = [loop.create_task(answer(gate, 60.0)) for _ in range(500)]
        await asyncio.sleep(0)
        for _ in range(50):
            gate.lag.observe(0.06)
        assert gate.statistics().limit == 400
        gate.lag.observe(0.0)
        for _ in range(4):
            gate.lag.observe(0.0)
        assert gate.statistics().limit > 500
        assert await answer(gate, 0.0) == "answered"
        await asyncio.gather(*streams)

    run_virtually(main())


def test_floor_is_no_higher_than_the_limit() -> None:
    """A limit below the floor is kept as it is, however late the loop."""
    gate = OverloadGate(LimitsConfig(in_flight=5), ManualClock(), LoopLag(ManualClock()))
    for _ in range(5):
        gate.lag.observe(0.3)
    assert gate.statistics().limit == 5


def test_other_limits_are_taken_on_reload() -> None:
    """A reload's limits hold from then on, for those who wait already too."""

    async def main() -> None:
        gate, loop = gate_of(in_flight=1), asyncio.get_running_loop()
        tasks = [loop.create_task(answer(gate, 0.9)) for _ in range(3)]
        await asyncio.sleep(0)
        gate.reconfigure(LimitsConfig.model_validate({"in_flight": 3, "queue": 0}))
        assert gate.statistics().inside == 3
        assert await asyncio.gather(*tasks) == ["answered"] * 3
        assert gate.statistics().limit == 3

    run_virtually(main())


def test_lag_of_a_period_is_its_longest_and_its_mean() -> None:
    """`take` tells both since the last call, and begins anew."""
    lag = LoopLag(ManualClock())
    for late_s in (0.0, 0.3, 0.0, 0.1):
        lag.observe(late_s)
    found = lag.take()
    assert found.longest_s == 0.3
    assert found.mean_s == pytest.approx(0.1)
    assert lag.take() == (0.0, 0.0)


def test_single_stall_is_no_overload() -> None:
    """One late tick between two that are in time leaves no standing lag."""
    lag, standing = LoopLag(ManualClock()), []
    for late_s in (0.0, 2.0, 0.0, 2.0, 1.5, 0.0):
        lag.observe(late_s)
        standing.append(lag.standing_s)
    assert standing == [0.0, 0.0, 0.0, 0.0, 1.5, 0.0]


def test_blocked_loop_is_measured() -> None:
    """A callback that holds the loop shows in the longest lag, also before the tick could run."""

    async def main() -> None:
        lag = LoopLag(SystemClock())
        lag.start()
        lag.start()
        try:
            await asyncio.sleep(2.5 * TICK_S)
            assert lag.take().longest_s < 0.2
            time.sleep(TICK_S + 0.2)  # noqa: ASYNC251  (this is the stall)
            assert lag.take().longest_s >= 0.2
            await asyncio.sleep(0.02)
            found = lag.take()
            assert found.longest_s >= 0.2
            assert found.mean_s > 0
        finally:
            lag.stop()

    asyncio.run(main())
