"""Which tools a recorded answer calls, read at ingest and only of answers that call any."""

from collections.abc import Iterator
from typing import Any

from gateway.protocols.json_text import event_objects, json_object, object_of

_OF_CLIENTS = frozenset({"function_call", "custom_tool_call"})
"""Items of a response that call a tool of the client's; the provider has others of its own."""


def called_tools(response: bytes, response_type: str) -> frozenset[str]:
    """Return the names of the tools that an answer calls, of all its choices."""
    if response_type.startswith("text/event-stream"):
        found: Iterator[dict[str, Any]] = event_objects(response)
    else:
        found = iter([json_object(response) or {}])
    return frozenset(name for data in found for name in _names(data) if isinstance(name, str))


def _names(data: dict[str, Any]) -> Iterator[Any]:
    """Yield what an answer, or an event of it, has where names of tools stand."""
    for choice in map(object_of, _list(data.get("choices"))):
        message = object_of(choice.get("message") or choice.get("delta"))
        for call in map(object_of, _list(message.get("tool_calls"))):
            called = call.get("function") or call.get("custom")
            yield object_of(called).get("name") or None
        yield object_of(message.get("function_call")).get("name") or None
    items = _list(data.get("output"))
    if data.get("type") == "response.output_item.done":
        items = [data.get("item")]
    for item in map(object_of, items):
        if item.get("type") in _OF_CLIENTS:
            yield item.get("name")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
