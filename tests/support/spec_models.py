"""Answers of the model endpoints that keep nothing: chat, text, embeddings, images, audio."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

from support.spec_wire import (
    CACHED_TOKENS,
    CREATED_AT,
    REASONING_TOKENS,
    SpecAnswer,
    SpecError,
    SpecRequest,
    binary,
    events,
    json_answer,
    short,
    tokens,
)

PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
DIMENSIONS = 8


def usage_of(prompt: object, answer: object) -> dict[str, Any]:
    """Return the token counts of a completion, as chat names them."""
    asked, said = tokens(prompt), tokens(answer)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": REASONING_TOKENS, "audio_tokens": 0},
    }


def chat(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /chat/completions`."""
    asked = request.json
    if not isinstance(asked.get("messages"), list) or not asked["messages"]:
        raise SpecError(400, "Missing required parameter: 'messages'.")
    message = _message(asked)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    usage = usage_of(asked["messages"], message)
    shared = {
        "id": f"chatcmpl-{short(asked['messages'])}",
        "created": CREATED_AT,
        "model": asked.get("model"),
        "system_fingerprint": "fp_spec",
        "service_tier": "default",
    }
    if request.wants_stream:
        shared["object"] = "chat.completion.chunk"
        asks_usage = (asked.get("stream_options") or {}).get("include_usage") is True
        answer = events(_chunks(shared, message, finish, usage if asks_usage else None), done=True)
        return answer.counting(*_counts(usage)) if asks_usage else answer
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    shared["object"] = "chat.completion"
    answer = json_answer({**shared, "choices": [choice], "usage": usage})
    return answer.counting(*_counts(usage))


def _counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    asked, said = usage["prompt_tokens"], usage["completion_tokens"]
    return asked, said, CACHED_TOKENS, REASONING_TOKENS


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if asked.get("tools"):
        name = asked["tools"][0]["function"]["name"]
        arguments = json.dumps({"city": f"city {short(asked['messages'])}"})
        function = {"name": name, "arguments": arguments}
        message["tool_calls"] = [{"id": "call_spec", "type": "function", "function": function}]
    elif (asked.get("response_format") or {}).get("type") == "json_schema":
        message["content"] = json.dumps({"answer": short(asked["messages"]), "number": 7})
    else:
        message["content"] = f"Ünïcode says {short(asked['messages'])} to you"
    return message


def _chunks(
    shared: dict[str, Any], message: dict[str, Any], finish: str, usage: dict[str, Any] | None
) -> Iterator[tuple[str, object]]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> tuple[str, object]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"usage": None} if usage else {}
        return "", {**shared, "choices": [choice], **more, "obfuscation": "xYz"}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for number, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        start = {"index": number, **call, "function": {"name": function["name"], "arguments": ""}}
        yield chunk({"tool_calls": [start]})
        for at in range(0, len(function["arguments"]), 5):
            part = {"arguments": function["arguments"][at : at + 5]}
            yield chunk({"tool_calls": [{"index": number, "function": part}]})
    for word in (message["content"] or "").split(" "):
        yield chunk({"content": word + " "} if message["content"] else {})
    yield chunk({}, finish)
    if usage:
        yield "", {**shared, "choices": [], "usage": usage}


def completions(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /completions`."""
    asked = request.json
    text = f" completed {short(asked.get('prompt'))}"
    shared = {
        "id": "cmpl-spec",
        "object": "text_completion",
        "created": CREATED_AT,
        "model": asked.get("model"),
    }
    usage = usage_of(asked.get("prompt"), text)

    def choice(text: str, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    if not request.wants_stream:
        answer = json_answer({**shared, "choices": [choice(text, "stop")], "usage": usage})
        return answer.counting(*_counts(usage))
    chunks = [{**shared, "choices": [choice(char, None)]} for char in text]
    chunks.append({**shared, "choices": [choice("", "stop")]})
    counted = (asked.get("stream_options") or {}).get("include_usage") is True
    if counted:
        chunks.append({**shared, "choices": [], "usage": usage})
    answer = events((("", one) for one in chunks), done=True)
    return answer.counting(*_counts(usage)) if counted else answer


def embeddings(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /embeddings`, as floats or in base64 of little-endian float32."""
    asked = request.json
    texts = asked["input"] if isinstance(asked.get("input"), list) else [asked.get("input")]
    data = []
    for index, text in enumerate(texts):
        floats = [byte / 256 for byte in bytes.fromhex(short(text))[:DIMENSIONS]]
        vector: object = floats
        if asked.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *floats)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    count = tokens(texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    listed = {"object": "list", "data": data, "model": asked["model"], "usage": usage}
    return json_answer(listed).counting(count)


def moderations(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /moderations`."""
    flagged = "bad" in json.dumps(request.json.get("input"))
    result = {
        "flagged": flagged,
        "categories": {"violence": flagged, "hate": False},
        "category_scores": {"violence": 0.75 if flagged else 0.25, "hate": 0.0},
        "category_applied_input_types": {"violence": ["text"], "hate": ["text"]},
    }
    named = {"id": f"modr-{request.digest()}", "model": "omni-moderation-spec"}
    return json_answer({**named, "results": [result]})


def images(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /images/generations` and, told by its files, `/images/edits`."""
    asked = request.json.get("prompt") or request.field("prompt")
    seen = "".join(short(part.content) for part in request.files())
    picture = base64.b64encode(PIXEL + f"{asked}{seen}".encode()).decode()
    usage = {
        "input_tokens": tokens(asked),
        "output_tokens": 11,
        "total_tokens": tokens(asked) + 11,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": tokens(asked)},
    }
    shared = {"size": "1024x1024", "quality": "low", "background": "opaque"}
    shared |= {"output_format": "png"}
    if not request.wants_stream:
        made = {"created": CREATED_AT, "data": [{"b64_json": picture}], **shared, "usage": usage}
        return json_answer(made).counting(tokens(asked), 11)
    shared |= {"b64_json": picture}
    common: dict[str, Any] = {**shared, "created_at": CREATED_AT}
    partial = {**common, "type": "image_generation.partial_image", "partial_image_index": 0}
    whole = {**common, "type": "image_generation.completed", "usage": usage}
    answer = events([(partial["type"], partial), (whole["type"], whole)])
    return answer.counting(tokens(asked), 11)


def speech(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /audio/speech` with bytes as they are made."""
    voice = bytes.fromhex(short(request.json)) * 16
    pieces = [voice[at:] + bytes(range(256)) * 8 for at in range(8)]
    return binary(pieces, "audio/mpeg", sized=False)


def transcriptions(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /audio/transcriptions` and `/audio/translations`."""
    if not request.files():
        raise SpecError(400, "Missing required parameter: 'file'.")
    (file,) = request.files()
    text = f"heard {short(file.content)} in {file.filename}"
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "output_tokens": 9,
        "total_tokens": 23,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    }
    if request.field("response_format") == "text":
        return binary([text.encode() + b"\n"], "text/plain; charset=utf-8")
    if not request.wants_stream:
        return json_answer({"text": text, "usage": usage}).counting(14, 9)
    deltas: list[tuple[str, object]] = [
        ("", {"type": "transcript.text.delta", "delta": word + " "}) for word in text.split(" ")
    ]
    last = {"type": "transcript.text.done", "text": text + " ", "usage": usage}
    return events([*deltas, ("", last)]).counting(14, 9)
