"""The words of recorded messages, read at ingest, far from the hot path."""

import msgspec

from gateway.protocols.asked import Asked
from gateway.protocols.json_text import (
    decoded_events,
    event_objects,
    json_object,
    object_of,
    texts,
)


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Event(msgspec.Struct):
    delta: _Delta | None = None


_EVENT = msgspec.json.Decoder(_Event)


class AnthropicTexts:
    """`gateway.protocols.protocol.Texts` of Anthropic's protocol."""

    def asked(self, request: bytes) -> Asked | None:
        """Return every text of `system` and `messages`, in order, with the form of the answer."""
        data = json_object(request)
        if data is None:
            return None
        form = object_of(data.get("output_config")).get("format")
        return Asked(
            "\n".join(texts([data.get("system"), data.get("messages")])),
            data.get("output_format") if form is None else form,
            data.get("tools"),
        )

    def called(self, response: bytes, response_type: str) -> frozenset[str]:
        """Return the names of the client's tools that the answer calls."""
        if response_type.startswith("text/event-stream"):
            blocks = [data.get("content_block") for data in event_objects(response)]
        else:
            content = (json_object(response) or {}).get("content")
            blocks = content if isinstance(content, list) else []
        calls = [block for block in map(object_of, blocks) if block.get("type") == "tool_use"]
        names = [block.get("name") for block in calls]
        return frozenset(name for name in names if isinstance(name, str))

    def answer(self, response: bytes, response_type: str) -> str | None:
        """Return the text blocks of a message, joined from events if streamed."""
        if response_type.startswith("text/event-stream"):
            events = decoded_events(response, _EVENT)
            if events is not None:
                known = [event.delta for event in events if event.delta is not None]
                return "".join([d.text for d in known if d.type == "text_delta" and d.text])
            deltas = (object_of(data.get("delta")) for data in event_objects(response))
            pieces = [delta.get("text") for delta in deltas if delta.get("type") == "text_delta"]
            return "".join(piece for piece in pieces if isinstance(piece, str))
        data = json_object(response)
        content = data.get("content") if data is not None else None
        if not isinstance(content, list):
            return None
        blocks = [block for block in content if object_of(block).get("type") == "text"]
        return "".join(texts(blocks)) if blocks else None

    def stream_of(self, text: str) -> bytes:
        """Return a stream of one block."""
        delta = {"type": "text_delta", "text": text}
        event = {"type": "content_block_delta", "index": 0, "delta": delta}
        return (
            b"event: content_block_delta\ndata: "
            + msgspec.json.encode(event)
            + b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
        )
