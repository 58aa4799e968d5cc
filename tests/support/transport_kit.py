"""Short words for tests of the upstream client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from support.fake_answers import Script, Step

from router.clock import Clock, SystemClock
from router.config import UpstreamConfig
from router.errors import UpstreamFault
from router.transport import HttpUpstream
from router.upstream import Upstream, UpstreamRequest, UpstreamResponse

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
Run = Callable[[Coroutine[Any, Any, None]], None]


def run_on(request: pytest.FixtureRequest) -> Run:
    """Return a runner on the loop that a fixture's parameter names."""

    def run(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            # uvloop holds back the signal of a test's time limit while it waits.
            runner.run(asyncio.wait_for(scenario, 30))

    return run


@asynccontextmanager
async def client(
    url: str,
    *,
    clock: Clock | None = None,
    base_path: str | None = None,
    idle_timeout_s: float = 60.0,
    **config: Any,
) -> AsyncIterator[HttpUpstream]:
    """Give a client for an upstream, and close it."""
    upstream = HttpUpstream(
        UpstreamConfig(name="primary", url=url, **config),
        clock=clock or SystemClock(),
        base_path=base_path,
        idle_timeout_s=idle_timeout_s,
    )
    try:
        yield upstream
    finally:
        await upstream.aclose()


def chat(model: str = "m", *, prompt: str = "hello", stream: bool = False) -> UpstreamRequest:
    """Return a chat request."""
    messages = [{"role": "user", "content": prompt}]
    body = {"model": model, "stream": stream, "messages": messages}
    headers = [(b"Content-Type", b"application/json")]
    return UpstreamRequest(b"POST", b"/chat/completions", headers, json.dumps(body).encode())


def body_of(request: UpstreamRequest) -> bytes:
    """Return the body of a request that holds it."""
    assert isinstance(request.body, bytes)
    return request.body


async def read_all(response: UpstreamResponse) -> bytes:
    """Return the rest of a body and give the connection back, whatever happens."""
    parts = []
    try:
        while part := await response.read():
            parts.append(part)
    finally:
        response.release()
    return b"".join(parts)


async def fetch(
    upstream: Upstream, request: UpstreamRequest, *, connect_timeout_s: float = 2.0
) -> bytes:
    """Return the whole body of an answer."""
    return await read_all(await upstream.send(request, connect_timeout_s=connect_timeout_s))


async def fault_of(
    upstream: Upstream, request: UpstreamRequest, *, connect_timeout_s: float = 2.0
) -> UpstreamFault:
    """Return the fault that a request ends in, in its head or in its body."""
    with pytest.raises(UpstreamFault) as caught:
        await fetch(upstream, request, connect_timeout_s=connect_timeout_s)
    return caught.value


def raw(*steps: Step) -> Script:
    """Return a script of fixed steps."""

    def script(_: object) -> Iterable[Step]:
        return steps

    return script
