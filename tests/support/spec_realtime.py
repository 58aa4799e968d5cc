"""The realtime endpoint: a WebSocket that answers every `response.create` with events."""

import json
from collections.abc import Iterator
from typing import Any

from support.spec_wire import short, tokens

Event = dict[str, Any]


class RealtimeSession:
    """One conversation."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._said: list[str] = []
        self._count = 0

    def opened(self) -> str:
        """Return the first event."""
        session = {"type": "realtime", "id": "sess_spec", "model": self.model}
        return self._numbered({"type": "session.created", "session": session})

    def answers(self, text: str) -> Iterator[str]:
        """Return the events that answer one of the client's."""
        try:
            asked = json.loads(text)
        except ValueError:
            error = {"type": "invalid_request_error", "message": "This is not JSON."}
            yield self._numbered({"type": "error", "error": error})
            return
        for event in self._events(asked):
            yield self._numbered(event)

    def _events(self, asked: Event) -> Iterator[Event]:
        kind = asked.get("type")
        if kind == "session.update":
            yield {"type": "session.updated", "session": asked["session"]}
        elif kind == "conversation.item.create":
            item = {"id": "item_spec", "object": "realtime.item", **asked["item"]}
            self._said.append(json.dumps(asked["item"]))
            yield {"type": "conversation.item.added", "item": item, "previous_item_id": None}
        elif kind == "response.create":
            yield from self._response()
        else:
            error = {"type": "invalid_request_error", "message": f"No event `{kind}`."}
            yield {"type": "error", "error": error}

    def _response(self) -> Iterator[Event]:
        text = f"heard {short(self._said)} live"
        at = {"response_id": "resp_rt", "item_id": "item_rt", "output_index": 0, "content_index": 0}
        response: Event = {"id": "resp_rt", "object": "realtime.response", "output": []}
        yield {"type": "response.created", "response": {**response, "status": "in_progress"}}
        for word in text.split(" "):
            yield {"type": "response.output_text.delta", **at, "delta": f"{word} "}
        yield {"type": "response.output_text.done", **at, "text": text}
        asked, said = tokens(self._said), tokens(text)
        usage = {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said}
        yield {
            "type": "response.done",
            "response": {**response, "status": "completed"} | {"usage": usage},
        }

    def _numbered(self, event: Event) -> str:
        self._count += 1
        return json.dumps({"event_id": f"event_{self._count}", **event})
