"""OpenAI's conversations over a WebSocket: what the server's events say of the answers within.

Realtime and responses have one shape there; an answer's end and its details are named differently.
"""

from typing import Any

import msgspec

from gateway.protocols.facts import Facts, count
from gateway.protocols.protocol import CONTENT
from gateway.sse import Event

_MAX_TOKENS = 2**31 - 1  # of the record's columns
_ENDS = frozenset({"response.done", "response.completed", "response.incomplete", "response.failed"})


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Any = None
    reasoning_tokens: Any = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    input_token_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Item(msgspec.Struct, gc=False):
    type: Any = None


class _Why(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    status: str | None = None
    status_details: _Why | None = None
    incomplete_details: _Why | None = None
    model: str | None = None
    usage: _Usage | None = None
    output: list[_Item] | None = None


class _Session(msgspec.Struct, gc=False):
    model: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    response: _Response | None = None
    session: _Session | None = None


_event = msgspec.json.Decoder(_Event).decode


class RealtimeEvents:
    """Reads the messages of one conversation; its answers' tokens are summed.

    It implements `gateway.protocols.protocol.EventReader`: a message stands for an event.
    """

    __slots__ = ()

    closing = b""

    def read(self, event: Event, facts: Facts) -> int:
        """Judge an event with data."""
        return self.read_data(event.data, facts) if event.data is not None else 0

    def read_data(self, data: bytes, facts: Facts) -> int:
        """Judge a message.

        Raises
        ------
        msgspec.DecodeError
            It is no event.
        """
        event = _event(data)
        kind = event.type or ""
        if kind in _ENDS and event.response is not None:
            _note(event.response, facts)
        elif kind in {"session.created", "session.updated"} and event.session is not None:
            facts.model_answered = event.session.model or facts.model_answered
        elif kind.startswith("response.") and kind.endswith(".delta"):
            return CONTENT
        return 0

    def finished(self, facts: Facts) -> bool:
        """Say whether an answer was completed."""
        return facts.finish_reason is not None


def _note(response: _Response, facts: Facts) -> None:
    """Add an answer to what the conversation has used so far."""
    why = response.status_details or response.incomplete_details
    facts.model_answered = response.model or facts.model_answered
    facts.finish_reason = (why.reason if why is not None else None) or response.status
    calls = sum(str(item.type).endswith("_call") for item in response.output or ())
    facts.tool_calls = (facts.tool_calls or 0) + calls
    usage = response.usage
    if usage is None:
        return
    facts.prompt_tokens = _sum(facts.prompt_tokens, usage.input_tokens)
    facts.response_tokens = _sum(facts.response_tokens, usage.output_tokens)
    given = usage.input_token_details or usage.input_tokens_details
    if given is not None:
        facts.cached_tokens = _sum(facts.cached_tokens, given.cached_tokens)
    if usage.output_tokens_details is not None:
        thought = usage.output_tokens_details.reasoning_tokens
        facts.reasoning_tokens = _sum(facts.reasoning_tokens, thought)


def _sum(before: int | None, said: Any) -> int | None:
    more = count(said)
    return before if more is None else min((before or 0) + more, _MAX_TOKENS)
