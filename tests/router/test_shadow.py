import asyncio
from typing import Any

import pytest
from support.virtual_time import run_virtually

from router.shadow import ShadowRunner


async def _sleep_a_minute() -> None:
    await asyncio.sleep(60.0)


def test_shadows_beyond_the_limit_are_dropped_and_counted() -> None:
    """Two run, the third is neither started nor queued."""

    async def main() -> None:
        runner = ShadowRunner(2)
        assert [runner.try_start(_sleep_a_minute) for _ in range(3)] == [True, True, False]
        assert runner.statistics() == (2, 2, 1, 0)
        await asyncio.sleep(61.0)
        assert runner.try_start(_sleep_a_minute)
        await runner.aclose(100.0)

    run_virtually(main())


def test_a_dropped_shadow_is_never_made() -> None:
    """Under load the factory is not called: nothing is left un-awaited."""
    made = []

    async def main() -> None:
        def factory() -> Any:
            made.append(1)
            return _sleep_a_minute()

        runner = ShadowRunner(8)
        assert not runner.try_start(factory, loaded=True)
        await asyncio.sleep(1.0)
        await runner.aclose(0.0)
        assert runner.statistics().dropped == 1

    run_virtually(main())
    assert made == []


@pytest.mark.parametrize("within", [True, False])
def test_a_failing_shadow_reaches_nobody(within: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """Its error is counted, whether the coroutine or the factory raises it."""

    async def fail() -> None:
        raise LookupError("a bug")

    def factory() -> Any:
        if within:
            return fail()
        raise LookupError("a bug")

    async def main() -> list[Any]:
        seen: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        runner = ShadowRunner(1)
        assert runner.try_start(factory)
        await asyncio.sleep(0.1)
        assert runner.statistics() == (0, 1, 0, 1)
        await runner.aclose(0.0)
        return seen

    assert [type(error) for error in run_virtually(main())] == [LookupError]


def test_closing_waits_then_cancels() -> None:
    """At the deadline what still runs is cancelled, and nothing new starts."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: list[str] = []

        async def shadow(name: str, seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
                ended.append(name)
            except asyncio.CancelledError:
                ended.append(f"{name} cancelled")
                raise

        runner = ShadowRunner(4)
        runner.try_start(lambda: shadow("short", 1.0))
        runner.try_start(lambda: shadow("long", 60.0))
        started_s = loop.time()
        await runner.aclose(5.0)
        assert loop.time() - started_s == pytest.approx(5.0)
        assert ended == ["short", "long cancelled"]
        assert not runner.try_start(_sleep_a_minute)

    run_virtually(main())
