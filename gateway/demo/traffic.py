"""Real prompts through the official `openai` client, a few at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from openai import AsyncOpenAI, OpenAIError

from gateway.demo.stage import ROUTE

CONCURRENCY = 4
MAX_TOKENS = 12
USERS = 40
TIMEOUT_S = 60.0


@dataclass(slots=True)
class Tally:
    """What clients saw.

    Attributes
    ----------
    upstreams : Counter of str
        Answers by the upstream that gave them.
    variants : Counter of str
        Answers by the variant the request was drawn for.
    errors : list of str
        One message for each request that was not answered to its end.
    """

    answered: int = 0
    upstreams: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Requests that have ended, well or not."""
        return self.answered + len(self.errors)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Users who ask through one client.

    Attributes
    ----------
    on_answer : callable
        Called with the tally after every request.
    """

    client: AsyncOpenAI
    on_answer: Callable[[Tally], None]

    async def ask(
        self,
        prompts: Sequence[str],
        *,
        at_least: int,
        streams_from: int = 0,
        until: asyncio.Event | None = None,
    ) -> Tally:
        """Send requests, `CONCURRENCY` at a time, until one fails; every second one is a stream.

        Parameters
        ----------
        prompts : sequence of str
            Asked in turn, from the start again when they end.
        at_least : int
            Requests; without `until` exactly as many.
        streams_from : int
            The first request that may be a stream.
        until : asyncio.Event, optional
            Go on beyond `at_least` until it is set.
        """
        tally, numbers = Tally(), count()

        def turns() -> Iterator[int]:
            for number in numbers:
                # One error ends the show: whatever came after it would only hide it.
                if tally.errors:
                    return
                if number >= at_least and (until is None or until.is_set()):
                    return
                yield number

        async def work() -> None:
            for number in turns():
                stream = number % 2 == 1 and number >= streams_from
                await self._ask_one(prompts[number % len(prompts)], number, tally, stream=stream)
                self.on_answer(tally)

        async with asyncio.TaskGroup() as workers:
            for _ in range(CONCURRENCY):
                workers.create_task(work())
        return tally

    async def _ask_one(self, prompt: str, number: int, tally: Tally, *, stream: bool) -> None:
        try:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=ROUTE,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=MAX_TOKENS,
                user=f"user-{number % USERS}",
                stream=stream,
            )
            complete = await _is_complete(raw.parse(), stream=stream)
        except OpenAIError as error:
            tally.errors.append(f"{type(error).__name__}: {error}")
            return
        if not complete:
            tally.errors.append("the answer ended without a finish_reason")
            return
        tally.answered += 1
        tally.upstreams[raw.headers["x-driftgate-upstream"]] += 1
        tally.variants[raw.headers["x-driftgate-variant"]] += 1


async def _is_complete(answer: Any, *, stream: bool) -> bool:
    if not stream:
        return bool(answer.choices[0].finish_reason)
    reasons = [c.finish_reason async for chunk in answer for c in chunk.choices]
    return bool(reasons and reasons[-1])


def new_client(base_url: str) -> AsyncOpenAI:
    """Return a client that repeats nothing by itself: what the gateway misses would be seen."""
    return AsyncOpenAI(base_url=base_url, api_key="demo", max_retries=0, timeout=TIMEOUT_S)
