import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.protocols.openai import is_error_object, peek, peek_lax
from gateway.protocols.protocol import MAX_MODEL_CHARS


def test_peek_skips_what_it_need_not_know() -> None:
    """Unknown fields of any type pass."""
    found = peek(b'{"x":[{"model":1}],"model":"m","stream":true,"user":"u","temperature":1e5}')
    assert (found.model, found.stream, found.user) == ("m", True, "u")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b"{}", "model"),
        (b'{"model":""}', "model"),
        (b'{"model":null}', "model"),
        (b'{"model":5}', "model"),
        (b'{"model":"m","stream":"true"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","stream_options":true}', "stream_options"),
        (b'{"model":"m","stream_options":{"include_usage":1}}', "stream_options.include_usage"),
        (b'{"model":"m","user":{}}', "user"),
        (b'{"model":"' + b"m" * (MAX_MODEL_CHARS + 1) + b'"}', "model"),
        (b'{"model":"m"} x', None),
        (b"\xef\xbb\xbf{}", None),
        (b'{"model":"\xff"}', None),
        (b'{"model":"\\ud800"}', None),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"}", None),
        (b'{"model":"m","x":01}', None),
    ],
    ids=range(20),
)
def test_wrong_bodies_are_the_clients_error(body: bytes, param: str | None) -> None:
    """Every wrong body is an `InvalidRequest` that names the parameter where there is one."""
    with pytest.raises(InvalidRequest) as raised:
        peek(body)
    assert raised.value.param == param
    assert len(str(raised.value)) < 300


def test_null_is_no_model() -> None:
    """Where none is needed, a model of null is none: so clients write it for images."""
    found = peek_lax(b'{"prompt":"p","model":null,"user":"u"}')
    assert (found.model, found.user) == ("", "u")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":null,"model":"m"}',
        b'{"model":null,"mode\\u006c":"m"}',
        b'{"model":null,"stream":1}',
        b'{"model":null,',
        b'{"model":null,"x":"\xff"}',
    ],
    ids=["twice", "escaped", "wrong", "cut", "bytes"],
)
def test_null_hides_nothing(body: bytes) -> None:
    """A body with a model of null is judged as any other."""
    with pytest.raises(InvalidRequest):
        peek_lax(body)


@given(st.binary(max_size=100) | st.text(max_size=50).map(lambda t: json.dumps(t).encode()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing else than `InvalidRequest` comes of any bytes."""
    try:
        assert peek(body).model
    except InvalidRequest as error:
        assert error.status == 400  # noqa: PT017  (either outcome is right, any other error is not)


@pytest.mark.parametrize(
    ("body", "sound"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": {"message": "m", "type": "t", "param": None, "code": 5}}, True),
        ({"error": {"message": None}}, False),
        ({"error": {"type": "t"}}, False),
        ({"error": "m"}, False),
        ({"detail": "m"}, False),
        ([], False),
        ({"error": [{"message": "m"}]}, False),
    ],
    ids=range(8),
)
def test_error_object_is_told_from_others(body: Any, *, sound: bool) -> None:
    """Only an object with a message is what OpenAI's clients can read."""
    assert is_error_object(json.dumps(body).encode()) is sound


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":{"message":"\xff"}}', b"[" * 100_000])
def test_no_json_is_no_error_object(body: bytes) -> None:
    """What is not JSON is no error object, and no error either."""
    assert not is_error_object(body)
