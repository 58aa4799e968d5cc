"""OpenAI's words for the embedded engine: fields in, by an allow-list, and answers out."""

import base64
import secrets
import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from local_engine.generation import GenerationRequest
from local_engine.sampling import MAX_SEED, Sampling

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_EMBEDDING_INPUTS = 256

_NUMBERS = (
    "temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty",
)  # fmt: skip

_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    # Each with the values that ask for nothing.
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}


@dataclass(slots=True, frozen=True)
class WireOptions:
    """How an answer is written: at once or as events, and whether events end with the usage."""

    stream: bool
    include_usage: bool


def parse_body(body: bytes) -> dict[str, Any]:
    """Return a request's JSON object.

    Raises
    ------
    InvalidRequest
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return {name: field for name, field in value.items() if field is not None}


def refuse_unsupported(body: dict[str, Any]) -> None:
    """Refuse fields whose meaning would be lost; other unknown fields are ignored.

    Raises
    ------
    InvalidRequest
    """
    for name, harmless in _UNSUPPORTED.items():
        if name in body and body[name] not in harmless:
            raise InvalidRequest(
                f"`{name}` is not supported by the embedded engine; leave it out", param=name
            )


def parse_generation(body: dict[str, Any], prompt: list[int]) -> GenerationRequest:
    """Return what to generate; nothing but the fields named here reaches the engine.

    Raises
    ------
    InvalidRequest, local_engine.errors.InvalidParameter
    """
    fields: dict[str, Any] = {name: _number(body, name) for name in _NUMBERS if name in body}
    if "top_k" in body:
        fields["top_k"] = _integer(body, "top_k")
    seed = _integer(body, "seed") & MAX_SEED if "seed" in body else secrets.randbits(32)
    limit = next((n for n in ("max_completion_tokens", "max_tokens") if n in body), None)
    max_tokens = _integer(body, limit) if limit else None
    if max_tokens is not None and max_tokens < 1:
        raise InvalidRequest(f"`{limit}` is {max_tokens}; it must be at least 1", param=limit)
    return GenerationRequest(
        prompt=prompt,
        sampling=Sampling(seed=seed, **fields),
        max_tokens=max_tokens,
        stops=_stops(body.get("stop")),
    )


def parse_wire(body: dict[str, Any]) -> WireOptions:
    """Return how the answer is to be written.

    Raises
    ------
    InvalidRequest
    """
    stream = body.get("stream", False)
    options = body.get("stream_options", {})
    if not isinstance(stream, bool):
        raise InvalidRequest("`stream` must be true or false", param="stream")
    if not isinstance(options, dict):
        raise InvalidRequest("`stream_options` must be an object", param="stream_options")
    usage = options.get("include_usage") or False
    if not isinstance(usage, bool):
        name = "stream_options.include_usage"
        raise InvalidRequest(f"`{name}` must be true or false", param=name)
    return WireOptions(stream=stream, include_usage=usage)


def parse_prompt(body: dict[str, Any]) -> str:
    """Return the prompt of a plain completion: a text, or a list of one.

    Raises
    ------
    InvalidRequest
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidRequest("`prompt` must be one text", param="prompt")
    return prompt


def parse_inputs(body: dict[str, Any]) -> list[str]:
    """Return the texts to embed.

    Raises
    ------
    InvalidRequest
    """
    value = body.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("`input` must be a text or a list of texts", param="input")
    if not 1 <= len(texts) <= MAX_EMBEDDING_INPUTS:
        raise InvalidRequest(
            f"`input` has {len(texts)} texts; 1 to {MAX_EMBEDDING_INPUTS} are taken", param="input"
        )
    return texts


def parse_encoding(body: dict[str, Any], *, dimensions: int) -> bool:
    """Return whether vectors are written in base64.

    Raises
    ------
    InvalidRequest
    """
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        name = "encoding_format"
        raise InvalidRequest(f"`{name}` must be `float` or `base64`", param=name)
    if body.get("dimensions", dimensions) != dimensions:
        raise InvalidRequest(
            f"`dimensions` must be {dimensions}, the size of this model's vectors",
            param="dimensions",
        )
    return bool(encoding == "base64")


def write_vector(vector: list[float], *, as_base64: bool) -> list[float] | str:
    """Return a vector as JSON takes it: numbers, or little-endian float32 in base64."""
    if not as_base64:
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return the `usage` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def event(data: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _number(body: dict[str, Any], name: str) -> float:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"`{name}` must be a number", param=name)
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"`{name}` is far too large", param=name) from None


def _integer(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"`{name}` must be a whole number", param=name)
    return value


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise InvalidRequest(f"`stop` must be a text or up to {MAX_STOPS} of them", param="stop")
    texts = [stop for stop in stops if isinstance(stop, str)]
    if len(texts) != len(stops) or not all(0 < len(s) <= MAX_STOP_CHARACTERS for s in texts):
        raise InvalidRequest(
            f"each of `stop` must be a text of 1 to {MAX_STOP_CHARACTERS} characters", param="stop"
        )
    return tuple(texts)
