"""One generation as its reader sees it: events that a thread delivers to an event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from local_engine.errors import EngineClosed, EngineError
from local_engine.sampling import Sampling

FinishReason = Literal["stop", "length"]


@dataclass(slots=True, frozen=True)
class GenerationRequest:
    """What to generate.

    Attributes
    ----------
    prompt : list of int
        Token ids; `Engine.tokenize` makes them.
    sampling : Sampling
    max_tokens : int or None
        At most this many tokens; None takes `engine.default_output_tokens`. Never more than
        the slot's context has left.
    stops : tuple of str
        Strings that end the text; not part of it.
    """

    prompt: list[int]
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()


class GenerationEvent(NamedTuple):
    """Some more text.

    Attributes
    ----------
    text : str
        May be empty in the last event.
    token_count : int
        Tokens generated so far, the end-of-answer token not counted.
    finish_reason : {"stop", "length"} or None
        Set on the last event.
    """

    text: str
    token_count: int
    finish_reason: FinishReason | None


class Generation:
    """Async iterator over the events of one request.

    The queue behind it holds at most one item a token, so its bound is the slot's context.
    Whoever stops reading early calls `cancel`.
    """

    def __init__(self, *, prompt_tokens: int, cancel: Callable[[], None]) -> None:
        self.prompt_tokens = prompt_tokens
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[GenerationEvent | EngineError] = asyncio.Queue()
        self._ended = False

    def cancel(self) -> None:
        """Stop generating: the slot is free within one step. Harmless when it has ended."""
        self._cancel()
        self._ended = True
        self._events.put_nowait(EngineClosed("the generation was cancelled"))

    def deliver(self, item: GenerationEvent | EngineError) -> None:
        """Hand over an event, or the error that ends it; called from the engine's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, item)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerationEvent:
        if self._ended:
            raise StopAsyncIteration
        item = await self._events.get()
        if isinstance(item, EngineError):
            self._ended = True
            raise item
        self._ended = item.finish_reason is not None
        return item
