"""Calls of the official OpenAI client: each takes a client and a model, and returns what it got."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import BaseModel

Call = Callable[[OpenAI, str], Any]
HELLO: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'Sag „hallo“ \U0001f44b and "quote" <it> \u2028 now.'},
]
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SOUND = b"RIFF\x00\xff\r\n--boundary\r\n" + bytes(range(256)) * 40


class Verdict(BaseModel):
    """What structured output is parsed into."""

    answer: str
    number: int


def chat(client: OpenAI, model: str) -> Any:
    """Complete a chat."""
    return client.chat.completions.create(model=model, messages=HELLO, seed=2**53, top_p=1e-7)


def chat_raw(client: OpenAI, model: str) -> Any:
    """Complete a chat and look at the bytes."""
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    return [raw.content, raw.status_code, raw.parse(), raw.request_id]


def chat_bytes(client: OpenAI, model: str) -> Any:
    """Complete a chat and take the body as it comes."""
    create = client.chat.completions.with_streaming_response.create
    with create(model=model, messages=HELLO) as raw:
        return b"".join(raw.iter_bytes())


def chat_stream(client: OpenAI, model: str) -> Any:
    """Stream a chat."""
    return list(client.chat.completions.create(model=model, messages=HELLO, stream=True))


def chat_stream_bytes(client: OpenAI, model: str) -> Any:
    """Stream a chat and take the events as bytes."""
    create = client.chat.completions.with_streaming_response.create
    with create(model=model, messages=HELLO, stream=True) as raw:
        # Asked for the usage by the gateway, upstreams say in every event that it is yet to come.
        return b"".join(raw.iter_bytes()).replace(b'"usage": null, ', b"")


def chat_stream_usage(client: OpenAI, model: str) -> Any:
    """Stream a chat with its usage."""
    return list(
        client.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )


def chat_stream_helper(client: OpenAI, model: str) -> Any:
    """Stream a chat through the helper, a tool call in it."""
    with client.chat.completions.stream(model=model, messages=HELLO, tools=[WEATHER]) as stream:
        seen = [event.type for event in stream]
        return [seen, stream.get_final_completion()]


def chat_stream_parsed(client: OpenAI, model: str) -> Any:
    """Stream structured output through the helper."""
    manager = client.chat.completions.stream(
        model=model, messages=HELLO, response_format=Verdict, stream_options={"include_usage": True}
    )
    with manager as stream:
        return [list(stream), stream.get_final_completion()]


def chat_tools(client: OpenAI, model: str) -> Any:
    """Get a tool call."""
    return client.chat.completions.create(model=model, messages=HELLO, tools=[WEATHER])


def chat_parsed(client: OpenAI, model: str) -> Any:
    """Get structured output."""
    return client.chat.completions.parse(model=model, messages=HELLO, response_format=Verdict)


def completion(client: OpenAI, model: str) -> Any:
    """Complete a text."""
    return client.completions.create(model=model, prompt="Once upon")


def completion_stream(client: OpenAI, model: str) -> Any:
    """Complete a text as a stream."""
    return list(client.completions.create(model=model, prompt="Once upon", stream=True))


def embeddings(client: OpenAI, model: str) -> Any:
    """Embed texts; the client asks for base64 and decodes it."""
    return client.embeddings.create(model=model, input=["one", "zwei"])


def embeddings_floats(client: OpenAI, model: str) -> Any:
    """Embed a text as floats."""
    return client.embeddings.create(model=model, input="one", encoding_format="float")


def responses(client: OpenAI, model: str) -> Any:
    """Create a response."""
    made = client.responses.create(model=model, input="Hello, response.")
    return [made, made.output_text]


def responses_stream(client: OpenAI, model: str) -> Any:
    """Create a response as a stream of events."""
    return list(client.responses.create(model=model, input="Hello, events.", stream=True))


def responses_helper(client: OpenAI, model: str) -> Any:
    """Stream a response through the helper."""
    with client.responses.stream(model=model, input="Hello, helper.") as stream:
        return [list(stream), stream.get_final_response()]


def responses_life(client: OpenAI, model: str) -> Any:
    """Create, read, list, cancel and delete responses."""
    made = client.responses.create(model=model, input="Keep me.")
    read = client.responses.retrieve(made.id, include=["message.output_text.logprobs"])
    items = list(client.responses.input_items.list(made.id, limit=1))
    waiting = client.responses.create(model=model, input="Later.", background=True)
    cancelled = client.responses.cancel(waiting.id)
    client.responses.delete(made.id)
    return [made, read, items, waiting, cancelled]


def images(client: OpenAI, model: str) -> Any:
    """Generate an image."""
    made = client.images.generate(model=model, prompt="a pixel")
    assert made.data is not None
    assert base64.b64decode(made.data[0].b64_json or "").endswith(b"a pixel")
    return made


def images_stream(client: OpenAI, model: str) -> Any:
    """Generate an image and see it come."""
    return list(
        client.images.generate(model=model, prompt="a pixel", stream=True, partial_images=1)
    )


def images_edit(client: OpenAI, model: str) -> Any:
    """Edit two images."""
    files = [("one.png", SOUND, "image/png"), ("two.png", SOUND[9:], "image/png")]
    return client.images.edit(model=model, prompt="bluer", image=files)


def speech(client: OpenAI, model: str) -> Any:
    """Let a text be spoken."""
    made = client.audio.speech.create(model=model, voice="alloy", input="Hello.")
    return made.content


def speech_stream(client: OpenAI, model: str) -> Any:
    """Let a text be spoken and take the sound as it comes."""
    create = client.audio.speech.with_streaming_response.create
    with create(model=model, voice="alloy", input="Hello.") as made:
        return b"".join(made.iter_bytes(chunk_size=700))


def transcription(client: OpenAI, model: str) -> Any:
    """Let a sound be written down."""
    return client.audio.transcriptions.create(model=model, file=("a.wav", SOUND))


def transcription_text(client: OpenAI, model: str) -> Any:
    """Let a sound be written down as bare text."""
    sound = ("a.wav", SOUND)
    return client.audio.transcriptions.create(model=model, file=sound, response_format="text")


def transcription_stream(client: OpenAI, model: str) -> Any:
    """Let a sound be written down as events."""
    sound = ("a.wav", SOUND)
    return list(client.audio.transcriptions.create(model=model, file=sound, stream=True))


def transcription_long(client: OpenAI, model: str) -> Any:
    """Let a sound be written down that is larger than what is held in memory."""
    return client.audio.transcriptions.create(model=model, file=("long.wav", SOUND * 300))


def moderations(client: OpenAI, _: str) -> Any:
    """Judge a text, with no model named."""
    return client.moderations.create(input="something bad")


def files(client: OpenAI, _: str) -> Any:
    """Upload, read, list page by page, and delete files."""
    made = [
        client.files.create(file=(f"{size}.jsonl", SOUND * size), purpose="batch")
        for size in (1, 200)
    ]
    read = client.files.retrieve(made[0].id)
    listed = list(client.files.list(limit=1))
    content = [client.files.content(one.id).content for one in made]
    deleted = [client.files.delete(one.id) for one in made]
    assert content == [SOUND, SOUND * 200]
    return [made, read, listed, deleted]


def uploads(client: OpenAI, _: str) -> Any:
    """Upload in parts, and cancel an upload."""
    whole = client.uploads.upload_file_chunked(
        file=SOUND,
        filename="parts.bin",
        bytes=len(SOUND),
        mime_type="application/octet-stream",
        purpose="assistants",
        part_size=4096,
    )
    started = client.uploads.create(
        filename="no.bin", bytes=3, mime_type="text/plain", purpose="assistants"
    )
    return [whole, client.uploads.cancel(started.id)]


def batches(client: OpenAI, _: str) -> Any:
    """Create, read, list and cancel a batch."""
    file = client.files.create(file=("batch.jsonl", b"{}\n"), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    read, listed = client.batches.retrieve(made.id), list(client.batches.list())
    return [made, read, listed, client.batches.cancel(made.id)]


def vector_stores(client: OpenAI, _: str) -> Any:
    """Create, list, search and delete a vector store."""
    made = client.vector_stores.create(name="spec")
    listed = list(client.vector_stores.list())
    found = list(client.vector_stores.search(made.id, query="where?"))
    return [made, listed, found, client.vector_stores.delete(made.id)]


def fine_tuning(client: OpenAI, model: str) -> Any:
    """Create, list, read and cancel a tuning job."""
    made = client.fine_tuning.jobs.create(model=model, training_file="file-spec")
    listed = list(client.fine_tuning.jobs.list())
    read = client.fine_tuning.jobs.retrieve(made.id)
    return [made, listed, read, client.fine_tuning.jobs.cancel(made.id)]


def file_from_disk(client: OpenAI, folder: Path) -> Any:
    """Upload a file by its path."""
    path = folder / "on-disk.bin"
    path.write_bytes(SOUND)
    made = client.files.create(file=path, purpose="assistants")
    return [made, client.files.delete(made.id)]
