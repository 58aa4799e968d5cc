"""The official `anthropic` client: every call gives the same through the gateway as without it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from support import anthropic_calls as calls
from support.spec_wire import UNCOUNTED
from support.two_sides import Side, Sides, both_sides, failure, plain

OPERATIONS = {
    "/anthropic/v1/messages": "messages",
    "/anthropic/v1/messages/count_tokens": "count_tokens",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Run the upstream, and a gateway before it whose rest goes to Anthropic's API."""
    with both_sides(tmp_path_factory.mktemp("anthropic"), rest="claude") as both:
        yield both


@pytest.fixture
def sides(running: Sides) -> Sides:
    """Return both ways to the upstream, as new."""
    running.begin()
    return running


def client_of(side: Side, key: str = "") -> Anthropic:
    """Return the official client, without its own retries."""
    return Anthropic(
        base_url=side.url, api_key=key or side.key, max_retries=0, http_client=side.http()
    )


def ways(sides: Sides) -> tuple[Side, Side]:
    """Return the direct way, whose API has a path of its own, and the gateway's."""
    if not sides.direct.url.endswith("/anthropic"):
        sides.direct.url += "/anthropic"
    return sides.direct, sides.gateway


def both(sides: Sides, call: Callable[[Anthropic], Any], key: str = "") -> list[Any]:
    """Make a call directly, then through the gateway; an error is a result, too."""
    got = []
    for side in ways(sides):
        with client_of(side, key) as client:
            try:
                got.append(plain(call(client)))
            except anthropic.AnthropicError as error:
                got.append(failure(error))
    return got


def check_rows(sides: Sides) -> None:
    """Check that every request left its one row, with what its answer said of itself."""
    asked = sides.asked()
    rows = sides.rows(len(asked))
    assert len(rows) == len(asked)
    for row, (request, answer) in zip(rows, asked, strict=True):
        facts = row.prediction
        operation = OPERATIONS.get(request.path, "message_batches")
        assert (facts.operation, facts.protocol) == (operation, "anthropic")
        assert (facts.status, facts.reason, facts.upstream) == (answer.status, None, "claude")
        assert facts.stream == request.wants_stream
        if answer.usage != UNCOUNTED:
            assert tuple(getattr(facts, name) for name in answer.usage._fields) == answer.usage


@pytest.mark.parametrize("model", ["claude-spec", "claude-named"])
@pytest.mark.parametrize(
    "call",
    [
        calls.message,
        calls.message_tools,
        calls.message_raw,
        calls.stream,
        calls.stream_bytes,
        calls.stream_helper,
        calls.count_tokens,
        calls.batches,
    ],
    ids=lambda call: call.__name__,
)
def test_same_as_direct(sides: Sides, call: Callable[[Anthropic, str], Any], model: str) -> None:
    """A call gives the same results, heads and rows, whatever route it takes."""
    direct, through = both(sides, lambda client: call(client, model))
    assert through == direct
    assert sides.gateway.heads == sides.direct.heads
    check_rows(sides)


@pytest.mark.parametrize("call", [calls.message, calls.stream_helper], ids=["plain", "stream"])
def test_same_with_keys_of_the_gateway(
    tmp_path: Path, call: Callable[[Anthropic, str], Any]
) -> None:
    """With a key of the gateway's in place of the upstream's everything is the same."""
    with both_sides(tmp_path, keyed=True) as keyed:
        direct, through = both(keyed, lambda client: call(client, "claude-named"))
        assert through == direct
        check_rows(keyed)
        assert all(keyed.gateway.key not in str(request.headers) for request, _ in keyed.asked())


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [400, 404, 413])
def test_refusals_are_the_upstreams(sides: Sides, status: int, *, stream: bool) -> None:
    """What the upstream refuses raises the same exception with the same message."""

    def call(client: Anthropic) -> Any:
        return client.messages.create(
            model=f"status-{status}", max_tokens=8, messages=calls.HELLO, stream=stream
        )

    direct, through = both(sides, call)
    assert through == direct
    assert through["status"] == status
    assert sides.gateway.heads == sides.direct.heads
    assert [row.prediction.reason for row in sides.rows(1)] == ["upstream_rejected"]


def test_own_key_refused(sides: Sides) -> None:
    """The client's own key goes upstream, so the upstream's 401 is the client's."""
    direct, through = both(sides, lambda client: calls.message(client, "x"), key="sk-wrong")
    assert through == direct
    assert through["class"] == "AuthenticationError"


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [("status-429", 429, "rate_limit_error"), ("status-500", 502, "api_error")],
)
def test_failures_have_the_protocols_shape(
    sides: Sides, model: str, status: int, kind: str
) -> None:
    """What the gateway itself says of an upstream's failure is an Anthropic error."""
    _, through = both(sides, lambda client: calls.message(client, model))
    assert through["status"] == status
    assert through["body"]["type"] == "error"
    assert through["body"]["error"]["type"] == kind
    if status == 429:
        assert dict(sides.gateway.heads[-1].fields)["retry-after"] == "7"


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"model": 7, "max_tokens": 1, "messages": []}', b'{"max_tokens": 1, "messages": []}'],
    ids=["half", "number", "nameless"],
)
def test_own_refusals_have_the_protocols_shape(sides: Sides, body: bytes) -> None:
    """What the gateway refuses on Anthropic's paths, it refuses in Anthropic's words."""
    with sides.gateway.http() as client:
        answer = client.post(
            f"{sides.gateway.url}/v1/messages",
            content=body,
            headers={"content-type": "application/json", "x-api-key": sides.gateway.key},
        )
    assert answer.status_code == 400
    shown = answer.json()
    assert (shown["type"], shown["error"]["type"]) == ("error", "invalid_request_error")
    assert shown["error"]["message"]


def test_error_within_a_stream(sides: Sides) -> None:
    """An error in the middle of a stream raises the same exception."""

    def call(client: Anthropic) -> Any:
        with client.messages.stream(
            model="late-error", max_tokens=8, messages=calls.HELLO
        ) as events:
            return list(events)

    direct, through = both(sides, call)
    assert through["class"] == direct["class"]
    assert through["body"]["error"]["type"] == "overloaded_error"
    (row,) = sides.rows(1)
    assert row.prediction.reason == "upstream_error"


def test_models_are_listed(sides: Sides) -> None:
    """Anthropic's client reads the gateway's list of models, the upstream's in it."""
    direct, through = both(sides, lambda client: list(client.models.list()))
    assert {model["id"] for model in direct} <= {model["id"] for model in through}


async def messages_at_once(client: AsyncAnthropic) -> Any:
    """Get many messages at the same time."""

    async def one(number: int) -> Any:
        return await client.messages.create(
            model="claude-named",
            max_tokens=8,
            messages=[{"role": "user", "content": f"number {number}"}],
        )

    return await asyncio.gather(*map(one, range(12)))


async def stream_helper(client: AsyncAnthropic) -> Any:
    """Stream a message through the helper."""
    manager = client.messages.stream(
        model="claude-spec", max_tokens=64, messages=calls.HELLO, tools=[calls.WEATHER]
    )
    async with manager as events:
        return [[event async for event in events], await events.get_final_message()]


async def count_tokens(client: AsyncAnthropic) -> Any:
    """Count the tokens of a prompt."""
    return await client.messages.count_tokens(model="claude-spec", messages=calls.HELLO)


@pytest.mark.parametrize(
    "call", [messages_at_once, stream_helper, count_tokens], ids=lambda call: call.__name__
)
def test_same_for_the_async_client(
    sides: Sides, call: Callable[[AsyncAnthropic], Awaitable[Any]]
) -> None:
    """The client that awaits gets the same as well."""

    async def run(side: Side) -> Any:
        http = side.async_http()
        async with AsyncAnthropic(
            base_url=side.url, api_key=side.key, max_retries=0, http_client=http
        ) as client:
            return plain(await asyncio.wait_for(call(client), 20))

    direct, through = (asyncio.run(run(side)) for side in ways(sides))
    assert through == direct
    assert sorted(sides.gateway.heads) == sorted(sides.direct.heads)
    assert len({row.prediction.id for row in sides.rows(len(sides.asked()))}) == len(sides.asked())
