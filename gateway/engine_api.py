"""The OpenAI protocol over the embedded engine: a handler for `gateway.exchange`."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from gateway.engine_shapes import ChatShape, Shape, TextShape
from gateway.engine_wire import (
    WireOptions,
    event,
    parse_body,
    parse_encoding,
    parse_generation,
    parse_inputs,
    parse_wire,
    refuse_unsupported,
    usage,
    write_vector,
)
from gateway.errors import MethodNotAllowed, NotFound, error_body
from gateway.exchange import Exchange
from local_engine.engine import Engine
from local_engine.errors import (
    EngineBusy,
    EngineClosed,
    EngineError,
    InvalidParameter,
    PromptTooLong,
)
from local_engine.generation import Generation
from router.clock import Clock

STALLED_AFTER_S = 30.0  # a step takes below a second; one this long hangs
INLINE_CHARACTERS = 16_384  # longer texts are tokenised in a thread

_JSON = (b"content-type", b"application/json")
_EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]
_RETRY = (b"retry-after", b"1")

_FAULTS: tuple[tuple[type[EngineError], int, str], ...] = (
    (InvalidParameter, 400, "invalid_request_error"),
    (PromptTooLong, 400, "invalid_request_error"),
    (EngineBusy, 429, "rate_limit_error"),
    (EngineClosed, 503, "server_error"),
    (EngineError, 500, "server_error"),
)


class EngineApi:
    """Answers for the engine that `engine` holds; says so while there is none.

    Any model name is answered, by the one model there is, and the answer names that model.
    """

    def __init__(self, clock: Clock) -> None:
        self.engine: Engine | None = None
        self.closing = False
        self._clock = clock
        self._routes: dict[str, tuple[str, Callable[[Exchange, Engine], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", partial(self._generate, ChatShape())),
            "/v1/completions": ("POST", partial(self._generate, TextShape())),
            "/v1/embeddings": ("POST", self._embed),
            "/v1/models": ("GET", self._models),
        }

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one exchange.

        Raises
        ------
        gateway.errors.RequestError
            For the server to write.
        """
        if exchange.path == "/healthz":
            self._health(exchange)
            return
        if exchange.path not in self._routes:
            raise NotFound(f"the embedded engine has no path `{exchange.path}`")
        method, answer = self._routes[exchange.path]
        if exchange.method != method:
            raise MethodNotAllowed(f"`{exchange.path}` takes {method}, not {exchange.method}")
        if self.engine is None or self.closing:
            self._not_ready(exchange)
            return
        try:
            await answer(exchange, self.engine)
        except EngineError as error:
            _write_fault(exchange, error)

    async def _generate(self, shape: Shape, exchange: Exchange, engine: Engine) -> None:
        body = parse_body(await exchange.body())
        refuse_unsupported(body)
        wire = parse_wire(body)
        request = parse_generation(body, await _tokenize(engine, shape.prompt(engine, body)))
        head = {
            "id": f"{shape.prefix}-{secrets.token_hex(12)}",
            "object": shape.name,
            "created": self._clock.now_us() // 1_000_000,
            "model": engine.file.name,
            "system_fingerprint": f"fp_{engine.file.digest[:12]}",
        }
        generation = engine.submit(request)
        # A client that goes away cancels this task: its slot must not go on for nobody.
        try:
            if wire.stream:
                await _stream(exchange, generation, head, shape, wire)
            else:
                await _answer(exchange, generation, head, shape)
        finally:
            generation.cancel()

    async def _embed(self, exchange: Exchange, engine: Engine) -> None:
        body = parse_body(await exchange.body())
        texts = parse_inputs(body)
        size = engine.statistics().embedding_size
        as_base64 = parse_encoding(body, dimensions=size)
        tokens = [await _tokenize(engine, text, special=False) for text in texts]
        vectors = await engine.embed(tokens)
        count = sum(len(text) for text in tokens)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": write_vector(vector, as_base64=as_base64),
            }
            for index, vector in enumerate(vectors)
        ]
        answer = {
            "object": "list",
            "data": data,
            "model": engine.file.name,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        _write_json(exchange, 200, answer)

    async def _models(self, exchange: Exchange, engine: Engine) -> None:
        created = self._clock.now_us() // 1_000_000
        model = {"id": engine.file.name, "object": "model", "created": created}
        data = [model | {"owned_by": "driftgate"}]
        _write_json(exchange, 200, {"object": "list", "data": data})

    def _health(self, exchange: Exchange) -> None:
        if self.engine is None or self.closing:
            self._not_ready(exchange)
            return
        numbers = self.engine.statistics()
        stalled = numbers.scheduler.step_age_s > STALLED_AFTER_S
        word = "stalled" if stalled else "ok"
        details = numbers._asdict() | {"scheduler": numbers.scheduler._asdict()}
        _write_json(exchange, 503 if stalled else 200, {"status": word, "engine": details})

    def _not_ready(self, exchange: Exchange) -> None:
        if self.closing:
            _write_fault(exchange, EngineClosed("the embedded engine is shutting down"))
            return
        message = "the embedded engine is loading its model; try again in a second"
        body = error_body(message, type_="server_error", code="engine_loading")
        _write_bytes(exchange, 503, body, retry=True)


async def _tokenize(engine: Engine, text: str, *, special: bool = True) -> list[int]:
    if len(text) <= INLINE_CHARACTERS:
        return engine.tokenize(text, special=special)
    return await asyncio.to_thread(engine.tokenize, text, special=special)


async def _answer(
    exchange: Exchange, generation: Generation, head: dict[str, Any], shape: Shape
) -> None:
    items = [item async for item in generation]
    text = "".join(item.text for item in items)
    last = items[-1]
    body = {
        **head,
        "choices": [shape.choice(text, last.finish_reason or "stop")],
        "usage": usage(generation.prompt_tokens, last.token_count),
    }
    _write_json(exchange, 200, body)


async def _stream(
    exchange: Exchange,
    generation: Generation,
    head: dict[str, Any],
    shape: Shape,
    wire: WireOptions,
) -> None:
    head = head | {"object": shape.chunk_name}
    common: dict[str, Any] = head | {"usage": None} if wire.include_usage else head
    # Until the first event, a failure can still be told by its status.
    item = await anext(generation)
    exchange.start(200, _EVENTS)
    opening = _events(common, shape.opening())
    try:
        while item.finish_reason is None:
            exchange.write(opening + _events(common, shape.delta(item)))
            opening = b""
            await exchange.drain()
            item = await anext(generation)
    except EngineError as error:
        exchange.finish(event(_fault(error)[1]))
        return
    ending = opening + _events(common, shape.delta(item))
    if wire.include_usage:
        numbers = usage(generation.prompt_tokens, item.token_count)
        ending += event(head | {"choices": [], "usage": numbers})
    exchange.finish(ending + b"data: [DONE]\n\n")


def _events(common: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
    return b"".join(event(common | {"choices": [choice]}) for choice in choices)


def _fault(error: EngineError) -> tuple[int, dict[str, Any]]:
    status, type_ = next((s, t) for kind, s, t in _FAULTS if isinstance(error, kind))
    param = error.param if isinstance(error, InvalidParameter) else None
    body = {"message": str(error), "type": type_, "param": param, "code": error.code}
    return status, {"error": body}


def _write_fault(exchange: Exchange, error: EngineError) -> None:
    status, body = _fault(error)
    _write_bytes(exchange, status, msgspec.json.encode(body), retry=status in {429, 503})


def _write_json(exchange: Exchange, status: int, body: dict[str, Any]) -> None:
    _write_bytes(exchange, status, msgspec.json.encode(body), retry=status == 503)


def _write_bytes(exchange: Exchange, status: int, body: bytes, *, retry: bool) -> None:
    exchange.start(status, [_JSON, _RETRY] if retry else [_JSON], length=len(body))
    exchange.finish(body)
