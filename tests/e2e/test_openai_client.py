"""The official `openai` client: every call gives the same through the gateway as without it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from support import openai_calls as calls
from support.spec_wire import UNCOUNTED, SpecRequest
from support.two_sides import Side, Sides, both_sides, failure, plain

NAMED = (
    calls.chat,
    calls.chat_raw,
    calls.chat_bytes,
    calls.chat_stream,
    calls.chat_stream_bytes,
    calls.chat_stream_usage,
    calls.chat_stream_helper,
    calls.chat_stream_parsed,
    calls.chat_tools,
    calls.chat_parsed,
    calls.completion,
    calls.completion_stream,
    calls.embeddings,
    calls.embeddings_floats,
    calls.responses,
    calls.responses_stream,
    calls.responses_helper,
    calls.images,
    calls.images_stream,
    calls.images_edit,
    calls.speech,
    calls.speech_stream,
    calls.transcription,
    calls.transcription_text,
    calls.transcription_stream,
    calls.transcription_long,
)
NAMELESS = (
    calls.moderations,
    calls.responses_life,
    calls.files,
    calls.uploads,
    calls.batches,
    calls.vector_stores,
    calls.fine_tuning,
)
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
    "/v1/responses": "response",
    "/v1/responses/.*": "stored_responses",
    "/v1/moderations": "moderation",
    "/v1/images/generations": "image",
    "/v1/images/edits": "image_edit",
    "/v1/audio/speech": "speech",
    "/v1/audio/transcriptions": "transcription",
    "/v1/files.*": "files",
    "/v1/uploads.*": "uploads",
    "/v1/batches.*": "batches",
    "/v1/vector_stores.*": "vector_stores",
    "/v1/fine_tuning/.*": "fine_tuning",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Run the upstream, and a gateway before it."""
    with both_sides(tmp_path_factory.mktemp("openai")) as both:
        yield both


@pytest.fixture
def sides(running: Sides) -> Sides:
    """Return both ways to the upstream, as new."""
    running.begin()
    return running


def operation_of(request: SpecRequest) -> str:
    """Return what the record calls a request."""
    return next(name for path, name in OPERATIONS.items() if re.fullmatch(path, request.path))


def client_of(side: Side, key: str = "") -> OpenAI:
    """Return the official client, without its own retries."""
    return OpenAI(
        base_url=f"{side.url}/v1",
        api_key=key or side.key,
        max_retries=0,
        http_client=side.http(),
    )


def async_client_of(side: Side) -> AsyncOpenAI:
    """Return the official client that awaits."""
    return AsyncOpenAI(
        base_url=f"{side.url}/v1",
        api_key=side.key,
        max_retries=0,
        http_client=side.async_http(),
    )


def both(sides: Sides, call: Callable[[OpenAI], Any], key: str = "") -> list[Any]:
    """Make a call directly, then through the gateway; an error is a result, too."""
    got = []
    for side in (sides.direct, sides.gateway):
        with client_of(side, key) as client:
            try:
                got.append(plain(call(client)))
            except openai.OpenAIError as error:
                got.append(failure(error))
    return got


def check_rows(sides: Sides) -> None:
    """Check that every request left its one row, with what its answer said of itself."""
    asked = sides.asked()
    rows = sides.rows(len(asked))
    assert len(rows) == len(asked)
    for row, (request, answer) in zip(rows, asked, strict=True):
        facts = row.prediction
        assert (facts.operation, facts.protocol) == (operation_of(request), "openai")
        assert (facts.status, facts.reason, facts.upstream) == (answer.status, None, "spec")
        assert facts.stream == request.wants_stream
        if answer.usage != UNCOUNTED:
            assert tuple(getattr(facts, name) for name in answer.usage._fields) == answer.usage


@pytest.mark.parametrize("model", ["gpt-spec", "named"])
@pytest.mark.parametrize("call", NAMED, ids=lambda call: call.__name__)
def test_same_with_a_model(sides: Sides, call: calls.Call, model: str) -> None:
    """A call that names a model gives the same results, heads and rows, whatever route it takes."""
    direct, through = both(sides, lambda client: call(client, model))
    assert through == direct
    assert sides.gateway.heads == sides.direct.heads
    check_rows(sides)


@pytest.mark.parametrize("call", NAMELESS, ids=lambda call: call.__name__)
def test_same_without_a_model(sides: Sides, call: calls.Call) -> None:
    """Calls about things that an upstream keeps go to it alone and give the same."""
    direct, through = both(sides, lambda client: call(client, "gpt-spec"))
    assert through == direct
    assert sides.gateway.heads == sides.direct.heads
    check_rows(sides)


def test_file_from_disk(sides: Sides, tmp_path: Path) -> None:
    """A file that the client streams from disk arrives whole."""
    direct, through = both(sides, lambda client: calls.file_from_disk(client, tmp_path))
    assert through == direct
    check_rows(sides)


def test_cookies_stay_between_neighbours(sides: Sides) -> None:
    """A cookie of the upstream's is not the client's; the gateway's own fields come in addition."""
    both(sides, lambda client: calls.chat(client, "named"))
    assert "set-cookie" in sides.direct.foreign
    assert "set-cookie" not in sides.gateway.foreign
    assert "x-driftgate-id" in sides.gateway.foreign


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_refusals_are_the_upstreams(sides: Sides, status: int, *, stream: bool) -> None:
    """What the upstream refuses raises the same exception with the same message."""

    def call(client: OpenAI) -> Any:
        return client.chat.completions.create(
            model=f"status-{status}", messages=calls.HELLO, stream=stream
        )

    direct, through = both(sides, call)
    assert through == direct
    assert through["status"] == status
    assert sides.gateway.heads == sides.direct.heads
    assert [row.prediction.reason for row in sides.rows(1)] == ["upstream_rejected"]


def test_own_key_refused(sides: Sides) -> None:
    """The client's own key goes upstream, so the upstream's 401 is the client's."""
    direct, through = both(sides, lambda client: calls.chat(client, "named"), key="sk-wrong")
    assert through == direct
    assert through["class"] == "AuthenticationError"


@pytest.mark.parametrize("call", [calls.chat_stream, calls.responses, calls.files])
def test_same_with_keys_of_the_gateway(tmp_path: Path, call: calls.Call) -> None:
    """With a key of the gateway's in place of the upstream's everything is the same."""
    with both_sides(tmp_path, keyed=True) as keyed:
        direct, through = both(keyed, lambda client: call(client, "named"))
        assert through == direct
        check_rows(keyed)
        assert {row.prediction.tenant for row in keyed.rows(1)} == {"someone"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_limited_upstream(sides: Sides, *, stream: bool) -> None:
    """A 429 stays one, with the time the upstream asks for."""

    def call(client: OpenAI) -> Any:
        return client.chat.completions.create(
            model="status-429", messages=calls.HELLO, stream=stream
        )

    direct, through = both(sides, call)
    assert (through["class"], through["status"]) == (direct["class"], 429)
    assert dict(sides.gateway.heads[-1].fields)["retry-after"] == "7"


@pytest.mark.parametrize("model", ["status-500", "status-503", "broken"])
def test_failing_upstream(sides: Sides, model: str) -> None:
    """A failing upstream is a server's error to the client, told as the gateway's 502 or 503."""
    with client_of(sides.gateway) as client, pytest.raises(openai.InternalServerError) as raised:
        calls.chat(client, model)
    assert raised.value.status_code == 502
    (row,) = sides.rows(1)
    assert row.prediction.status == 502


def test_models_include_the_upstreams(sides: Sides) -> None:
    """The list of models holds the routes and what the upstream of the rest lists."""
    direct, through = both(sides, lambda client: list(client.models.list()))
    listed = {model["id"] for model in through}
    assert {model["id"] for model in direct} <= listed
    with client_of(sides.gateway) as client:
        assert client.models.retrieve("gpt-spec").id == "gpt-spec"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("no/such model")


async def chats_at_once(client: AsyncOpenAI) -> Any:
    """Complete many chats at the same time."""

    async def one(number: int) -> Any:
        return await client.chat.completions.create(
            model="named", messages=[{"role": "user", "content": f"number {number}"}]
        )

    return await asyncio.gather(*map(one, range(12)))


async def chat_stream(client: AsyncOpenAI) -> Any:
    """Stream a chat."""
    stream = await client.chat.completions.create(model="x", messages=calls.HELLO, stream=True)
    return [chunk async for chunk in stream]


async def chat_helper(client: AsyncOpenAI) -> Any:
    """Stream a chat with a tool call through the helper."""
    manager = client.chat.completions.stream(
        model="named", messages=calls.HELLO, tools=[calls.WEATHER]
    )
    async with manager as stream:
        return [[event.type async for event in stream], await stream.get_final_completion()]


async def responses_helper(client: AsyncOpenAI) -> Any:
    """Stream a response through the helper."""
    async with client.responses.stream(model="named", input="Hello.") as stream:
        return [[event async for event in stream], await stream.get_final_response()]


async def speech(client: AsyncOpenAI) -> Any:
    """Take sound as it comes."""
    create = client.audio.speech.with_streaming_response.create
    async with create(model="tts", voice="alloy", input="Hello.") as made:
        return b"".join([piece async for piece in made.iter_bytes()])


async def files(client: AsyncOpenAI) -> Any:
    """Upload a file, read it back, delete it."""
    made = await client.files.create(file=("a.bin", calls.SOUND), purpose="assistants")
    content = await client.files.content(made.id)
    return [made, content.content, await client.files.delete(made.id)]


@pytest.mark.parametrize(
    "call",
    [chats_at_once, chat_stream, chat_helper, responses_helper, speech, files],
    ids=lambda call: call.__name__,
)
def test_same_for_the_async_client(
    sides: Sides, call: Callable[[AsyncOpenAI], Awaitable[Any]]
) -> None:
    """The client that awaits gets the same as well."""

    async def run(side: Side) -> Any:
        async with async_client_of(side) as client:
            return plain(await asyncio.wait_for(call(client), 20))

    direct, through = asyncio.run(run(sides.direct)), asyncio.run(run(sides.gateway))
    assert through == direct
    assert sorted(sides.gateway.heads) == sorted(sides.direct.heads)
    if call is not chats_at_once:
        check_rows(sides)
    else:
        assert len({row.prediction.id for row in sides.rows(12)}) == 12
