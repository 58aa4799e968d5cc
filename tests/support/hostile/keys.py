"""Rows for a gateway that asks for keys, and what none of them may do to its upstream."""

from support.hostile.kit import CHAT, GOOD_BODY, MESSAGES, Row, get, one_of, post

KEY = b"sk-good-0123456789abcdef"

_RIGHT = b"Authorization: Bearer " + KEY


def _asks(name: str, *fields: bytes) -> Row:
    """Return a row whose credentials are not good enough."""
    return Row(f"key: {name}", post(GOOD_BODY, CHAT, *fields), (401,), "key")


REFUSED = [
    _asks("none"),
    _asks("an empty field", b"Authorization:"),
    _asks("a scheme alone", b"Authorization: Bearer"),
    _asks("a scheme and a space", b"Authorization: Bearer "),
    _asks("another scheme", b"Authorization: Basic " + KEY),
    _asks("no scheme", b"Authorization: " + KEY),
    _asks("a comma before the key", b"Authorization: Bearer ," + KEY),
    _asks("a key too short", _RIGHT[:-1]),
    _asks("a key too long", _RIGHT + b"0"),
    _asks("a key in capitals", b"Authorization: Bearer " + KEY.upper()),
    _asks("a key in quotes", b'Authorization: Bearer "' + KEY + b'"'),
    _asks("a key and a parameter", _RIGHT + b"; admin=true"),
    _asks("two keys in one field", _RIGHT + b", Bearer x"),
    _asks("an encoded key", b"Authorization: Bearer sk%2Dgood-0123456789abcdef"),
    _asks("bytes beyond ASCII", b"Authorization: Bearer \xff\xfe\xfd"),
    _asks("a key with bytes beyond ASCII", _RIGHT + b"\xa0"),
    _asks("the key's digest", b"Authorization: Bearer " + b"a" * 64),
    _asks("60 kB", b"Authorization: Bearer " + b"k" * 60_000),
    _asks("SQL", b"Authorization: Bearer ' OR '1'='1"),
    _asks("a wrong key before the right one", b"Authorization: Bearer x", _RIGHT),
    _asks(
        "a wrong key beside the right x-api-key", b"Authorization: Bearer x", b"x-api-key: " + KEY
    ),
    _asks("an empty x-api-key", b"x-api-key:"),
    _asks("a wrong x-api-key", b"x-api-key: x"),
    _asks("a wrong api-key", b"api-key: x"),
    _asks("two x-api-keys", b"x-api-key: x", b"x-api-key: " + KEY),
    _asks("the key as a proxy's", b"Proxy-Authorization: Bearer " + KEY),
    _asks("the key in a cookie", b"Cookie: key=" + KEY),
    _asks("the key in a name with an underscore", b"X_API_KEY: " + KEY),
    _asks("the upstream's key", b"Authorization: Bearer sk-of-the-upstream"),
    Row(
        "key: in the query",
        post(GOOD_BODY, CHAT + b"?api_key=" + KEY + b"&key=" + KEY),
        (401,),
        "key",
    ),
    Row("key: in the body", post(b'{"model":"chat","api_key":"%b"}' % KEY), (401,), "key"),
    Row(
        "key: in the target",
        b"GET http://x:" + KEY + b"@h/v1/models HTTP/1.1\r\nHost: h\r\n\r\n",
        (401,),
        "key",
    ),
    Row("key: none, for the list of models", get(b"/v1/models"), (401,), "key"),
    Row("key: none, for feedback", post(b"{}", b"/v1/feedback"), (401,), "key"),
    Row("key: none, for what is not there", get(b"/v1/nothing"), (401,), "key"),
    Row("key: none, for a way up", get(b"/v1/../metrics"), (401,), "key"),
    Row(
        "key: none, with OPTIONS",
        get(CHAT, b"Origin: http://evil", method=b"OPTIONS"),
        (401,),
        "key",
    ),
    Row("key: none, with HEAD", get(b"/v1/models", method=b"HEAD"), (401,), head=True),
    Row("key: none, for messages", post(GOOD_BODY, MESSAGES), (401,), "key"),
    Row(
        "key: none, with a body without end",
        b"POST " + CHAT + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n",
        (401,),
        "key",
        closes=True,
    ),
]

ACCEPTED = [
    Row("key: right", post(GOOD_BODY, CHAT, _RIGHT), (200,), reaches=1),
    Row(
        "key: right, scheme in lower case",
        post(GOOD_BODY, CHAT, b"Authorization: bearer " + KEY),
        (200,),
        reaches=1,
    ),
    Row(
        "key: right, scheme in capitals",
        post(GOOD_BODY, CHAT, b"AUTHORIZATION: BEARER " + KEY),
        (200,),
        reaches=1,
    ),
    Row("key: right as x-api-key", post(GOOD_BODY, CHAT, b"x-api-key: " + KEY), (200,), reaches=1),
    Row(
        "key: right, named by Connection",
        post(GOOD_BODY, CHAT, _RIGHT, b"Connection: authorization"),
        (200,),
        reaches=1,
    ),
    Row(
        "key: right twice",
        post(GOOD_BODY, CHAT, _RIGHT, _RIGHT),
        (one_of(200, 400, 401),),
        reaches=1,
    ),
    Row(
        "key: right in every field",
        post(GOOD_BODY, CHAT, _RIGHT, b"x-api-key: " + KEY, b"api-key: " + KEY),
        (200,),
        reaches=1,
    ),
    Row("key: none, for the health check", get(b"/healthz"), (200,)),
]
