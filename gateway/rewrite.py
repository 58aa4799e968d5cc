"""The smallest edits to a request body: the model's name, and asking a stream for its usage."""

import re
from itertools import islice
from urllib.parse import quote

import msgspec

from gateway.protocols import openai
from gateway.protocols.protocol import Peek
from gateway.request_body import FormBody

_MAX_CANDIDATES = 4  # each is read back; a body full of them must not hold the event loop
_INCLUDE_USAGE = b'"stream_options":{"include_usage":true},'
_NULL = msgspec.Raw(b"null")


def with_model(body: bytes, old: str, new: str) -> bytes:
    """Return a body whose top-level `model` is `new`; every other byte stays.

    The value may also stand in nested objects and in prompts, so each candidate is checked by
    reading the edited body back.
    """
    pattern = rb'("model"\s*:\s*)' + re.escape(msgspec.json.encode(old))
    replacement = msgspec.json.encode(new)
    for match in islice(re.finditer(pattern, body), _MAX_CANDIDATES):
        edited = body[: match.end(1)] + replacement + body[match.end() :]
        if openai.model_of(edited) == new:
            return edited
    # Written with escapes, or hidden among others: the object is written again, its values
    # untouched.
    fields = _fields(body)
    fields["model"] = msgspec.Raw(replacement)
    return msgspec.json.encode(fields)


def with_usage(body: bytes, peek: Peek) -> bytes:
    """Return a streaming body that asks for the usage event."""
    if peek.stream_options is None and b'"stream_options"' not in body:
        start = body.index(b"{") + 1
        return body[:start] + _INCLUDE_USAGE + body[start:]
    fields = _fields(body)
    options = fields.get("stream_options", _NULL)
    kept = {} if bytes(options) == b"null" else _fields(bytes(options))
    kept["include_usage"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(msgspec.json.encode(kept))
    return msgspec.json.encode(fields)


def with_form_model(form: FormBody, new: str) -> FormBody:
    """Return a multipart body whose field `model` is `new`; every other byte stays."""
    head = form.head[: form.start] + new.encode() + form.head[form.end :]
    source = form.source
    if source is not None:
        source = source.with_head(head)
    return FormBody(head, form.start, form.start + len(new.encode()), source)


def with_query_model(target: bytes, new: str) -> bytes:
    """Return a target whose query names another model; every other parameter stays."""
    path, _, query = target.partition(b"?")
    parts = query.split(b"&")
    for place, part in enumerate(parts):
        if part.startswith(b"model="):
            parts[place] = b"model=" + quote(new, safe="").encode()
    return path + b"?" + b"&".join(parts)


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
