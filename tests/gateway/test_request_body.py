import asyncio
import gzip
import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest, RequestError, RequestTooLarge, UnsupportedCoding
from gateway.protocols.table import find_operation
from gateway.request_body import HELD_BYTES, RequestBody, StreamedBody, read_body
from gateway.rewrite import with_form_model

CHAT = "/v1/chat/completions"
WRITTEN = "/v1/audio/transcriptions"
BODY = b'{"model":"m","messages":[]}'
MODEL = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
STREAM = b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
END = b"--b--\r\n"
FORM = "multipart/form-data; boundary=b"
MAX = 4 * HELD_BYTES


def file(size: int) -> bytes:
    """Return a part that is a file."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head + b"x" * size + b"\r\n"


class Incoming:
    """The part of an exchange that bodies are read from."""

    def __init__(self, body: bytes, *, chunked: bool = False, **headers: str) -> None:
        self._left = body
        self.headers = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        self.body_length = None if chunked else len(body)
        self.reads = 0

    def header(self, name: bytes) -> bytes | None:
        """Return a header."""
        return next((value for key, value in self.headers if key == name), None)

    async def body(self) -> bytes:
        """Return the whole body."""
        body, self._left = self._left, b""
        return body

    async def read(self) -> bytes:
        """Return the next 64 KiB."""
        self.reads += 1
        piece, self._left = self._left[:65_536], self._left[65_536:]
        return piece


def read(path: str, incoming: Incoming, method: str = "POST") -> RequestBody:
    """Return what is read of a request."""
    operation = find_operation(method, path)
    return asyncio.run(read_body(incoming, operation, MAX))  # type: ignore[arg-type]  # a part


def whole(source: Any) -> bytes:
    """Return everything that a source gives."""

    async def collect() -> bytes:
        body = b""
        while piece := await source.read():
            body += piece
        return body

    return asyncio.run(collect())


def test_json_is_held_and_peeked_at() -> None:
    """A body of JSON is read whole; the very bytes go on."""
    found = read(CHAT, Incoming(BODY))
    assert (found.raw, found.shown, found.peek.model) == (BODY, BODY, "m")


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip"])
def test_coded_json_is_read_and_kept_as_it_came(name: str) -> None:
    """A coded body is inflated to be read; what goes on is the coded one."""
    coded = gzip.compress(BODY)
    found = read(CHAT, Incoming(coded, content_encoding=name))
    assert (found.raw, found.shown, found.peek.model) == (coded, BODY, "m")


@pytest.mark.parametrize(
    ("body", "coding", "refusal"),
    [
        (gzip.compress(b" " * (MAX + 1)), "gzip", RequestTooLarge),
        (BODY, "gzip", InvalidRequest),
        (BODY, "br", UnsupportedCoding),
        (BODY, "gzip, gzip", UnsupportedCoding),
        (gzip.compress(b"{"), "gzip", InvalidRequest),
    ],
    ids=["bomb", "lie", "brotli", "twice", "cut"],
)
def test_codings_that_cannot_be_read_are_refused(
    body: bytes, coding: str, refusal: type[RequestError]
) -> None:
    """Bombs, lies and unknown codings are refused where a body has to be read."""
    with pytest.raises(refusal):
        read(CHAT, Incoming(body, content_encoding=coding))


def test_form_shows_its_model() -> None:
    """A short form is held; model and stream are read from its fields."""
    body = MODEL + STREAM + file(10) + END
    found = read(WRITTEN, Incoming(body, content_type=FORM))
    assert (found.raw, found.peek.model, found.peek.stream) == (body, "m", True)


def test_form_of_json_is_json() -> None:
    """Operations with forms take JSON, too."""
    found = read("/v1/images/edits", Incoming(BODY, content_type="application/json"))
    assert found.peek.model == "m"


@pytest.mark.parametrize("chunked", [True, False])
def test_long_form_is_streamed_once_its_model_is_known(*, chunked: bool) -> None:
    """A long upload is not held: what was read and what follows are the client's bytes."""
    body = MODEL + file(3 * HELD_BYTES) + END
    incoming = Incoming(body, content_type=FORM, chunked=chunked)
    found = read(WRITTEN, incoming)
    assert found.peek.model == "m"
    assert incoming.reads == 1
    assert found.source is not None
    assert found.source.length == (None if chunked else len(body))
    assert whole(found.source) == body


def test_model_of_a_streamed_form_is_replaced_in_its_part() -> None:
    """Another model's name changes its field and the length, and no other byte."""
    body = MODEL + file(3 * HELD_BYTES) + END
    found = read(WRITTEN, Incoming(body, content_type=FORM))
    assert found.form is not None
    edited = with_form_model(found.form, "another")
    assert edited.source is not None
    expected = body.replace(b"\r\nm\r\n", b"\r\nanother\r\n")
    assert edited.source.length == len(expected)
    assert whole(edited.source) == expected


def test_form_whose_model_comes_last_is_held() -> None:
    """A file before the model is read up to it, and sent on as it was."""
    body = file(2 * HELD_BYTES) + MODEL + END
    found = read(WRITTEN, Incoming(body, content_type=FORM))
    assert found.peek.model == "m"
    assert (found.raw if found.source is None else whole(found.source)) == body


def test_form_without_end_or_model_is_refused() -> None:
    """What would have to be held is bounded."""
    with pytest.raises(RequestTooLarge, match="before the file"):
        read(WRITTEN, Incoming(file(2 * MAX), content_type=FORM))


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (MODEL + END, "multipart/form-data", "boundary"),
        (MODEL + END, FORM + "y" * 80, "boundary"),
        (MODEL + END, "text/plain", "JSON"),
        (b"before\r\n" + MODEL + END, FORM, "begin"),
        (file(10) + END, FORM, "model"),
        (b"", FORM, "model"),
        (MODEL.replace(b"m\r\n", b"\xff\r\n") + END, FORM, "UTF-8"),
        (MODEL.replace(b"name=", b'name="a"; name=') + END, FORM, "model"),
    ],
    ids=["none", "long", "other", "preamble", "no-model", "empty", "bytes", "named-twice"],
)
def test_forms_that_cannot_be_read_are_refused(body: bytes, content_type: str, says: str) -> None:
    """A form that readers would read in different ways, or that names no model, is refused."""
    with pytest.raises(InvalidRequest, match=says):
        read(WRITTEN, Incoming(body, content_type=content_type))


def test_form_with_two_models_is_refused() -> None:
    """Two models in one form are as ambiguous as in JSON."""
    with pytest.raises(InvalidRequest, match="twice"):
        read(WRITTEN, Incoming(MODEL + MODEL + END, content_type=FORM))


def test_long_form_of_an_unknown_path_passes_without_a_model() -> None:
    """Where a model is a guess, a form without one is not read to its end."""
    body = file(2 * MAX) + END
    incoming = Incoming(body, content_type=FORM)
    found = read("/v1/odd", incoming)
    assert found.peek.model == ""
    assert incoming.reads * 65_536 <= 4 * HELD_BYTES
    assert whole(found.source) == body


@pytest.mark.parametrize("path", ["/v1/files", "/v1/uploads/u/parts", "/v1/odd"])
def test_uploads_are_not_held(path: str) -> None:
    """A body that nobody has to read is passed on as it comes; a short one is held."""
    body = b"\x00" * (2 * HELD_BYTES)
    incoming = Incoming(body, content_type="application/octet-stream")
    found = read(path, incoming)
    assert incoming.reads == 0
    assert isinstance(found.source, StreamedBody)
    assert whole(found.source) == body
    short = read(path, Incoming(b"\x00", content_type="application/octet-stream"))
    assert (short.raw, short.source) == (b"\x00", None)


def test_request_without_a_body_has_none() -> None:
    """A GET has an empty body that is held: it may be sent again."""
    found = read("/v1/files/f", Incoming(b""), "GET")
    assert (found.raw, found.source) == (b"", None)


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"model":5}', json.dumps([1]).encode()])
def test_json_of_unknown_paths_is_passed_whatever_it_is(body: bytes) -> None:
    """A path of which nothing is known may take anything."""
    found = read("/v1/odd", Incoming(body, content_type="application/json"))
    assert (found.raw, found.peek.model) == (body, "")
