"""Calls of the official Anthropic client: each takes a client and returns what it got."""

from typing import Any

from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

HELLO: list[MessageParam] = [
    {"role": "user", "content": [{"type": "text", "text": "Sag „hallo“ \U0001f44b \u2028 now."}]}
]
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def message(client: Anthropic, model: str) -> Any:
    """Get a message."""
    return client.messages.create(model=model, max_tokens=64, messages=HELLO, system="Be brief.")


def message_tools(client: Anthropic, model: str) -> Any:
    """Get a message with thoughts and a tool call."""
    return client.messages.create(
        model=model,
        max_tokens=4096,
        messages=HELLO,
        tools=[WEATHER],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )


def message_raw(client: Anthropic, model: str) -> Any:
    """Get a message and look at the bytes."""
    raw = client.messages.with_raw_response.create(model=model, max_tokens=64, messages=HELLO)
    return [raw.http_response.content, raw.request_id, raw.parse()]


def stream(client: Anthropic, model: str) -> Any:
    """Stream a message as events."""
    return list(client.messages.create(model=model, max_tokens=64, messages=HELLO, stream=True))


def stream_bytes(client: Anthropic, model: str) -> Any:
    """Stream a message and take the events as bytes."""
    create = client.messages.with_streaming_response.create
    with create(model=model, max_tokens=64, messages=HELLO, stream=True) as raw:
        return b"".join(raw.iter_bytes())


def stream_helper(client: Anthropic, model: str) -> Any:
    """Stream a message through the helper, thoughts and a tool call in it."""
    manager = client.messages.stream(
        model=model,
        max_tokens=4096,
        messages=HELLO,
        tools=[WEATHER],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    with manager as events:
        return [list(events), events.get_final_message(), events.get_final_text()]


def count_tokens(client: Anthropic, model: str) -> Any:
    """Count the tokens of a prompt."""
    return client.messages.count_tokens(model=model, messages=HELLO)


def batches(client: Anthropic, model: str) -> Any:
    """Create, read and cancel a batch of messages."""
    params: Any = {"model": model, "max_tokens": 8, "messages": HELLO}
    made = client.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
    read = client.messages.batches.retrieve(made.id)
    return [made, read, client.messages.batches.cancel(made.id)]
