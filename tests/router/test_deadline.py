"""A block of a task, bounded in time."""

import asyncio

import pytest

from router.deadline import Deadline


async def _wait(timeout_s: float, work_s: float) -> str:
    with Deadline(asyncio.get_running_loop(), timeout_s):
        await asyncio.sleep(work_s)
    return "done"


def test_what_is_in_time_goes_on() -> None:
    """The task is not cancelled later either."""

    async def work() -> str:
        done = await _wait(0.02, 0.0)
        await asyncio.sleep(0.04)
        return done

    assert asyncio.run(work()) == "done"


@pytest.mark.parametrize("timeout_s", [0.01, 0.0, -1.0])
def test_what_is_late_is_a_timeout(timeout_s: float) -> None:
    """Also when the time is up before the block begins."""
    with pytest.raises(TimeoutError):
        asyncio.run(_wait(timeout_s, 5.0))


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    """Also when the deadline falls into the same turn of the loop."""

    async def work() -> bool:
        task = asyncio.get_running_loop().create_task(_wait(0.0, 5.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(work())


def test_the_task_can_be_bounded_again_after_a_timeout() -> None:
    """The cancellation that the deadline asked for is taken back."""

    async def work() -> int:
        with pytest.raises(TimeoutError):
            await _wait(0.0, 5.0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(work()) == 0


def test_an_error_of_the_block_is_not_hidden() -> None:
    """Only a cancellation becomes a timeout."""

    async def work() -> None:
        with Deadline(asyncio.get_running_loop(), 5.0):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        asyncio.run(work())
