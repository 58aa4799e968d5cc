"""Reading what routing needs of a JSON body, with refusals that say what to change."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateway.errors import InvalidRequest
from gateway.protocols import soundness
from gateway.protocols.protocol import MAX_MODEL_CHARS, Peek

PeekT = TypeVar("PeekT", bound=Peek)

_BOM = b"\xef\xbb\xbf"
_NO_MODEL = "got `null` - at `$.model`"
_NOT_JSON = (b"NaN", b"Infinity")


def decode_peek(body: bytes, decode: Callable[[bytes], PeekT]) -> PeekT:
    """Return what a decoder finds in a sound JSON object.

    Raises
    ------
    InvalidRequest
        It is not one, or a field has the wrong type.
    """
    try:
        found = decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        if text.endswith(_NO_MODEL) and (rest := _without_model(body)) is not None:
            return decode_peek(rest, decode)
        raise InvalidRequest(f"The request body is wrong: {text}", param=_param(text)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}{_hint(body)}") from error
    soundness.check(body)
    if found.model:
        check_model(found.model)
    return found


def _without_model(body: bytes) -> bytes | None:
    """Return a body without its `model`: null is none, as clients of images may write it.

    None when it is no JSON.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    soundness.check(body)
    del fields["model"]
    return msgspec.json.encode(fields)


def check_model(name: str) -> str:
    """Return a model's name; refuse one that is too long, or that no one could read."""
    if len(name) > MAX_MODEL_CHARS:
        raise InvalidRequest(f"`model` is longer than {MAX_MODEL_CHARS} characters.", param="model")
    if not name.isprintable():
        raise InvalidRequest("`model` holds characters that cannot be printed.", param="model")
    return name


def need_model(found: PeekT) -> PeekT:
    """Refuse a request that names no model."""
    if not found.model:
        raise InvalidRequest("You must provide a `model` parameter.", param="model")
    return found


def _param(message: str) -> str | None:
    """Return `model` of msgspec's "... - at `$.model`"."""
    _, found, path = message.rpartition("at `$.")
    return path.rstrip("`") if found else None


def _hint(body: bytes) -> str:
    """Return what is probably wrong, for the mistakes that are made most."""
    if not body.strip():
        return ". The body is empty."
    if body.startswith(_BOM):
        return ". Send it without a byte order mark."
    if any(word in body for word in _NOT_JSON):
        return ". JSON has no NaN and no Infinity; send null or a string."
    return ""
