"""What an upstream answers that never fails, whatever it is asked."""

import json
from collections.abc import Iterator
from typing import Any

from support.fake_answers import (
    STREAM_HEAD,
    SeenRequest,
    Step,
    chunk,
    completion,
    event,
    piece,
    usage_of,
    whole,
)


def sound(request: SeenRequest) -> Iterator[Step]:
    """Answer whatever is asked as a server of its kind would, and never fail over it."""
    path = request.target.partition("?")[0]
    if request.wants_stream:
        yield from _sound_stream(request, anthropic=path.endswith("/messages"))
    elif path.endswith("/embeddings"):
        one = {"object": "embedding", "index": 0, "embedding": [0.5]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = {"object": "list", "data": [one], "model": request.model, "usage": usage}
        yield whole(200, json.dumps(body).encode())
    elif path.endswith("/count_tokens"):
        yield whole(200, b'{"input_tokens": 1}')
    elif path.endswith("/messages"):
        yield whole(200, json.dumps(_message(request)).encode())
    elif path.endswith("/responses"):
        yield whole(200, json.dumps(_response(request)).encode())
    else:
        request.json = request.json if isinstance(request.json, dict) else {}
        yield whole(200, json.dumps(completion(request)).encode())


def _sound_stream(request: SeenRequest, *, anthropic: bool) -> Iterator[Step]:
    yield STREAM_HEAD
    if anthropic:
        start = {"type": "message_start", "message": _message(request)}
        text = {"type": "text_delta", "text": "hi"}
        yield chunk(event(start, name="message_start"))
        delta = {"type": "content_block_delta", "index": 0, "delta": text}
        yield chunk(event(delta, name="content_block_delta"))
        stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
        yield chunk(event(stop, name="message_delta"))
        yield chunk(event({"type": "message_stop"}, name="message_stop"))
    elif request.target.partition("?")[0].endswith("/responses"):
        delta = {"type": "response.output_text.delta", "delta": "hi"}
        yield chunk(event(delta, name="response.output_text.delta"))
        done = {"type": "response.completed", "response": _response(request)}
        yield chunk(event(done, name="response.completed"))
    else:
        yield chunk(event(piece(request, content="hi")))
        yield chunk(event(piece(request, finish_reason="stop")))
        last = piece(request) | {"choices": [], "usage": usage_of(request)}
        yield chunk(event(last))
        yield chunk(event("[DONE]"))
    yield chunk(b"")


def _message(request: SeenRequest) -> dict[str, Any]:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _response(request: SeenRequest) -> dict[str, Any]:
    text = {"type": "output_text", "text": "hi", "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": request.model,
        "output": [{**message, "content": [text]}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }
