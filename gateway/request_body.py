"""Bodies of requests: read whole where that is needed, passed on piece by piece where not."""

import zlib

import msgspec

from gateway.errors import InvalidRequest, RequestTooLarge, UnsupportedCoding
from gateway.exchange import Exchange
from gateway.protocols.coding import READABLE, TooLargeError, coding_of, inflate
from gateway.protocols.multipart import Field, boundary_of, read_fields
from gateway.protocols.peeking import check_model
from gateway.protocols.protocol import Operation, Peek

HELD_BYTES = 1_048_576
"""Longer bodies that need no reading are not held."""


class StreamedBody:
    """A body that is read once, on its way: `router.upstream.BodySource`.

    Parameters
    ----------
    head : bytes
        What was read already.
    length : int or None
        Of the whole body as the client declared it.
    """

    def __init__(self, exchange: Exchange, head: bytes = b"", *, length: int | None) -> None:
        self.length = length
        self._counted = [0]
        self._exchange = exchange
        self._head = head
        self._started = False

    def with_head(self, head: bytes) -> "StreamedBody":
        """Return the body with other first bytes; only one of the two can be read."""
        length = self.length
        if length is not None:
            length += len(head) - len(self._head)
        body = StreamedBody(self._exchange, head, length=length)
        body._counted = self._counted  # whichever is read, the record has one size
        return body

    @property
    def read_bytes(self) -> int:
        """Return how much was read so far, of this body or of one with another head."""
        return self._counted[0]

    async def read(self) -> bytes:
        """Return the next part, b"" at the end."""
        if not self._started:
            self._started = True
            if self._head:
                self._counted[0] += len(self._head)
                return self._head
        part = await self._exchange.read()
        self._counted[0] += len(part)
        return part


class FormBody(msgspec.Struct, frozen=True):
    """A multipart body, and where its field `model` stands.

    Attributes
    ----------
    head : bytes
        The body, or its first part when `source` has the rest.
    start, end : int
        Offsets of the model's name in `head`.
    """

    head: bytes
    start: int
    end: int
    source: StreamedBody | None


class RequestBody(msgspec.Struct):
    """What was read of a request.

    Attributes
    ----------
    raw : bytes
        The body as it came, b"" when it is not held.
    shown : bytes
        What the record keeps: the body with its coding undone, or the first part of a long one.
    coding : bytes
        b"" for none.
    """

    raw: bytes
    shown: bytes
    peek: Peek
    coding: bytes = b""
    form: FormBody | None = None
    source: StreamedBody | None = None


def of_json(body: bytes, operation: Operation) -> RequestBody:
    """Peek at a body without a coding; raises InvalidRequest."""
    peek = operation.peek
    assert peek is not None
    return RequestBody(body, body, peek(body))


async def read_body(exchange: Exchange, operation: Operation, max_bytes: int) -> RequestBody:
    """Read as much of a body as its operation asks for, and peek at it.

    Parameters
    ----------
    max_bytes : int
        Of a body that is held, inflated if need be.

    Raises
    ------
    RequestError
    """
    kind = operation.body
    if kind == "json":
        return _json(await exchange.body(), operation, exchange, max_bytes)
    content_type = exchange.header(b"content-type") or b""
    if kind == "form":
        return await _form_or_json(exchange, operation, content_type, max_bytes)
    if kind == "unknown":
        if content_type.lower().lstrip().startswith(b"application/json"):
            body = await exchange.body()
            return RequestBody(body, body, _peek_unknown(body, operation))
        boundary = boundary_of(content_type)
        if boundary is not None and not coding_of(exchange.header(b"content-encoding")):
            return await _form(exchange, boundary, max_bytes, must_know=False)
    return await _opaque(exchange)


async def _opaque(exchange: Exchange) -> RequestBody:
    """Hold a short body, pass a long one."""
    length = exchange.body_length
    if length is not None and length <= HELD_BYTES:
        body = await exchange.body() if length else b""
        return RequestBody(body, body, Peek())
    return RequestBody(b"", b"", Peek(), source=StreamedBody(exchange, length=length))


async def _form_or_json(
    exchange: Exchange, operation: Operation, content_type: bytes, max_bytes: int
) -> RequestBody:
    if content_type.lower().lstrip().startswith(b"application/json"):
        found = _json(await exchange.body(), operation, exchange, max_bytes)
    else:
        boundary = boundary_of(content_type)
        if boundary is None:
            raise InvalidRequest(
                "The body must be JSON, or a form of type `multipart/form-data` with a `boundary`"
                " of at most 70 characters."
            )
        if coding_of(exchange.header(b"content-encoding")):
            raise UnsupportedCoding("Forms with a content coding cannot be read here.")
        found = await _form(exchange, boundary, max_bytes, must_know=True)
    if operation.model_required and not found.peek.model:
        raise InvalidRequest(
            "You must provide a `model` parameter: a field of the form.", param="model"
        )
    return found


def _json(body: bytes, operation: Operation, exchange: Exchange, max_bytes: int) -> RequestBody:
    codings = [value for name, value in exchange.headers if name.lower() == b"content-encoding"]
    coding = coding_of(b", ".join(codings))
    if not coding:
        return of_json(body, operation)
    text = _inflated(body, coding, max_bytes)
    found = of_json(text, operation)
    found.raw, found.coding = body, coding
    return found


def _inflated(body: bytes, coding: bytes, max_bytes: int) -> bytes:
    """Return a body that can be looked into; what is sent on is the coded one."""
    if coding not in READABLE:
        name = coding.decode("latin-1")[:40]
        raise UnsupportedCoding(
            f"The content coding `{name}` cannot be read here; send the body as it is, or with"
            " gzip or deflate."
        )
    try:
        return inflate(body, coding, max_bytes)
    except TooLargeError as error:
        raise RequestTooLarge(
            f"The request body inflates to more than the {max_bytes} bytes of"
            " `gateway.limits.body_bytes`."
        ) from error
    except zlib.error as error:
        raise InvalidRequest(f"The request body is not of its content coding: {error}") from error


def _peek_unknown(body: bytes, operation: Operation) -> Peek:
    """Read the model of a body this gateway has no need to understand."""
    if not body or operation.peek is None:
        return Peek()
    try:
        return operation.peek(body)
    except InvalidRequest:
        return Peek()


async def _form(
    exchange: Exchange, boundary: bytes, max_bytes: int, *, must_know: bool
) -> RequestBody:
    """Read a form up to its model; what follows need not be held when it is long.

    `must_know` reads on to the end for a model; else one that comes late stays unknown.
    """
    length = exchange.body_length
    if length is not None and length <= HELD_BYTES:
        body = await exchange.body()
        _check_start(body, boundary, must_know=must_know)
        fields = read_fields(body, boundary).fields
        return _of_form(body, fields, None)
    pieces: list[bytes] = []
    head, size, next_look = b"", 0, 0
    while piece := await exchange.read():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise RequestTooLarge(
                f"The field `model` is not among the first {max_bytes} bytes of the form; send"
                " it before the file."
            )
        # Each look costs as much as what has arrived: look as often as that doubles.
        if size >= next_look:
            next_look = 2 * size
            head = b"".join(pieces)
            pieces = [head]
            fields = read_fields(head, boundary).fields
            if _model_field(fields) is not None or (size > HELD_BYTES and not must_know):
                _check_start(head, boundary, must_know=must_know)
                return _of_form(head, fields, StreamedBody(exchange, head, length=length))
    head = b"".join(pieces)
    _check_start(head, boundary, must_know=must_know)
    return _of_form(head, read_fields(head, boundary).fields, None)


def _check_start(body: bytes, boundary: bytes, *, must_know: bool) -> None:
    """Refuse a form with something before its first part: not every reader skips that."""
    if must_know and len(body) > len(boundary) + 2 and not body.startswith(b"--" + boundary):
        raise InvalidRequest("The form does not begin with its `boundary`.")


def _model_field(fields: list[Field]) -> Field | None:
    return next((field for field in fields if field.name == b"model"), None)


def _of_form(head: bytes, fields: list[Field], source: StreamedBody | None) -> RequestBody:
    named = [field for field in fields if field.name in {b"model", b"stream", b"user"}]
    if len({field.name for field in named}) != len(named):
        raise InvalidRequest("The form has a field `model`, `stream` or `user` twice; send one.")
    try:
        values = {field.name: field.value.decode("utf-8") for field in named}
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "`model`, `stream` and `user` of a form must be UTF-8.", param="model"
        ) from error
    peek = Peek(
        model=check_model(values.get(b"model", "")),
        stream=values.get(b"stream", "").lower() in {"true", "1"} or None,
        user=values.get(b"user"),
    )
    place = _model_field(fields)
    form = FormBody(head, place.start, place.end, source) if place is not None else None
    return RequestBody(head if source is None else b"", head, peek, form=form, source=source)
