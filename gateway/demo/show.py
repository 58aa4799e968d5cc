"""The show: usual traffic, an outage, a shift, and what the gateway makes of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from openai import AsyncOpenAI

from gateway.cli.since import iso
from gateway.demo.alert_text import alert_lines
from gateway.demo.errors import DemoFailed
from gateway.demo.programs import Program, monitor
from gateway.demo.progress import Narrator
from gateway.demo.prompts import ENGLISH, SHIFTED
from gateway.demo.receiver import Receiver
from gateway.demo.stage import CANDIDATE, LOCAL, ROUTE, STEADY, Phases
from gateway.demo.traffic import CONCURRENCY, Crowd, Tally
from router.clock import Clock

INGESTED_S = 30.0
ALERT_S = 90.0
"""Longest wait from the first shifted request to the alert's arrival."""

KILL_AFTER = CONCURRENCY
"""Answers of the outage's phase after which the upstream dies."""

# Streams that have begun can only be cut, and the gateway says so; plain answers are made anew.
_STREAMS_AFTER_KILL = KILL_AFTER + 2 * CONCURRENCY
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that runs while the show goes on.

    Attributes
    ----------
    main : Program
        The upstream that will be killed.
    gateway : Program
    control_url : str
        Of the control plane, without a path.
    """

    main: Program
    gateway: Program
    client: AsyncOpenAI
    control_url: str
    receiver: Receiver


class Show:
    """Plays the phases in a scene; every step that does not happen is a `DemoFailed`."""

    def __init__(self, scene: Scene, phases: Phases, narrator: Narrator, clock: Clock) -> None:
        self._scene = scene
        self._phases = phases
        self._narrator = narrator
        self._clock = clock
        self._started_at = self._baseline_at = clock.now_us()

    async def play(self) -> None:
        """Play all phases; the report goes to stdout."""
        await self._usual()
        await self._baseline()
        await self._outage()
        await self._shift()
        await self._report()

    async def _usual(self) -> None:
        with self._narrator.step("Usual traffic: short English questions, a canary and a shadow"):
            total = self._phases.usual
            tally = await self._ask(ENGLISH, total)
            self._tell(tally)
            if not tally.variants[CANDIDATE]:
                raise DemoFailed(f"no request was drawn for the canary `{CANDIDATE}`")

    async def _baseline(self) -> None:
        with self._narrator.step("Baseline: what this traffic usually looks like"):
            shadows = await self._ingested(self._phases.usual)
            self._narrator.say(f"{shadows} requests were also copied to `{CANDIDATE}` as shadows")
            since = iso(self._started_at)
            out = await self._monitor("baseline", "set", "--route", ROUTE, "--since", since)
            self._baseline_at = self._clock.now_us()
            for line in out.splitlines():
                self._narrator.say(line)

    async def _outage(self) -> None:
        with self._narrator.step(f"Outage: SIGKILL for `{STEADY}` while it answers"):
            due = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                killing = tasks.create_task(self._kill(due))
                tally = await self._ask(
                    ENGLISH[::-1],
                    self._phases.outage,
                    streams_from=_STREAMS_AFTER_KILL,
                    watch=lambda sofar: due.set() if sofar.answered >= KILL_AFTER else None,
                )
                killing.cancel()
            self._tell(tally)
            rescued = tally.upstreams[LOCAL]
            if self._scene.main.process.returncode is None or not rescued:
                raise DemoFailed("no request of the outage was answered by the embedded engine")
            self._narrator.say(f"the embedded engine answered {rescued}, no client saw an error")

    async def _kill(self, due: asyncio.Event) -> None:
        await due.wait()
        await self._scene.main.kill()
        self._narrator.say(f"killed `{STEADY}` (process {self._scene.main.process.pid})")

    async def _shift(self) -> None:
        with self._narrator.step("Shift: longer prompts in French and German, until the alert"):
            if not self._scene.receiver.events.empty():
                event = self._scene.receiver.events.get_nowait()
                raise DemoFailed(f"an alert came before the shift: {event['data']['summary']}")
            found, started_s = asyncio.Event(), self._clock.monotonic()
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(self._alert(found))
                tally = await self._ask(SHIFTED, self._phases.shifted, until=found)
            self._tell(tally)
            arrived = waiting.result()
            if arrived is None:
                raise DemoFailed(f"no alert arrived within {ALERT_S:.0f} s of the shift")
            arrived_s, event = arrived
            self._narrator.say(f"webhook after {arrived_s - started_s:.1f} s, signature verified:")
            for line in alert_lines(event):
                self._narrator.say(f"  {line}")

    async def _alert(self, found: asyncio.Event) -> tuple[float, dict[str, Any]] | None:
        try:
            async with asyncio.timeout(ALERT_S):
                event = await self._scene.receiver.events.get()
        except TimeoutError:
            return None
        finally:
            found.set()
        return self._clock.monotonic(), event

    async def _report(self) -> None:
        with self._narrator.step("Report: `monitor report` of all since the baseline"):
            await self._monitor("report", "--since", iso(self._baseline_at), shown=True)

    async def _ask(
        self,
        prompts: Sequence[str],
        total: int,
        *,
        streams_from: int = 0,
        until: asyncio.Event | None = None,
        watch: Callable[[Tally], None] | None = None,
    ) -> Tally:
        with self._narrator.requests(total) as show:

            def on_answer(tally: Tally) -> None:
                show(tally.sent, f"{len(tally.errors)} errors")
                if watch is not None:
                    watch(tally)

            crowd = Crowd(self._scene.client, on_answer)
            return await crowd.ask(prompts, at_least=total, streams_from=streams_from, until=until)

    def _tell(self, tally: Tally) -> None:
        if tally.errors:
            self._scene.gateway.check()
            raise DemoFailed(f"{len(tally.errors)} clients saw an error: {tally.errors[0]}")
        shares = ", ".join(f"`{name}` {n}" for name, n in tally.upstreams.most_common())
        self._narrator.say(f"{tally.answered} answered, 0 errors; by {shares}")

    async def _ingested(self, requests: int) -> int:
        """Wait until the log holds so many requests; return how many shadows it holds."""
        deadline_s = self._clock.monotonic() + INGESTED_S
        params = {"since": iso(self._started_at)}
        async with httpx2.AsyncClient(base_url=self._scene.control_url, timeout=10) as client:
            while self._clock.monotonic() < deadline_s:
                report = await _get(client, "/api/v1/report", params)
                if report["requests"] >= requests:
                    return sum(row["n"] for row in report["traffic"] if row["role"] == "shadow")
                await asyncio.sleep(_POLL_S)
        raise DemoFailed(f"the log does not hold {requests} requests after {INGESTED_S:.0f} s")

    async def _monitor(self, *arguments: str, shown: bool = False) -> str:
        return await monitor([*arguments, "--server", self._scene.control_url], shown=shown)


async def _get(client: httpx2.AsyncClient, path: str, params: dict[str, str]) -> Any:
    try:
        answer = await client.get(path, params=params)
        return answer.raise_for_status().json()
    except httpx2.HTTPError as error:
        raise DemoFailed(f"the control plane did not answer `{path}`: {error}") from error
