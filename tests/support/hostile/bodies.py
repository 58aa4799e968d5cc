"""Rows of JSON bodies: what is no JSON, what two readers read differently, and wrong types."""

import json
from collections.abc import Callable
from typing import Any

from support.hostile.kit import CHAT, MESSAGES, Row, one_of, post

_MESSAGE = b'"messages":[{"role":"user","content":"hi"}]'
_OBJECT = b'{"model":"chat",' + _MESSAGE + b"%b}"
_FORM = b"Content-Type: application/x-www-form-urlencoded"

PATHS = {
    "chat": CHAT,
    "completions": b"/v1/completions",
    "embeddings": b"/v1/embeddings",
    "responses": b"/v1/responses",
    "messages": MESSAGES,
}
"""Operations whose JSON body is read, by a short name."""


def _chat(name: str, body: bytes | Callable[[], bytes], says: str = "JSON") -> Row:
    """Return a row that chat refuses."""
    sent = post(body) if isinstance(body, bytes) else lambda: post(body())
    return Row(f"chat: {name}", sent, (400,), says)


def _more(name: str, more: bytes | Callable[[], bytes], says: str = "JSON") -> Row:
    """Return a row of a good body with one more field that spoils it."""
    if isinstance(more, bytes):
        return _chat(name, _OBJECT % (b"," + more), says)
    return _chat(name, lambda: _OBJECT % (b"," + more()), says)


def _harmless(name: str, body: bytes | Callable[[], bytes]) -> Row:
    """Return a row that looks odd and is good: it passes."""
    sent = post(body) if isinstance(body, bytes) else lambda: post(body())
    return Row(f"chat: {name}", sent, (200,), reaches=1)


SYNTAX = [
    _chat("nothing", b"", "JSON|empty"),
    _chat("white space", b" \r\n\t ", "JSON|empty"),
    _chat("null", b"null", "object|JSON"),
    _chat("true", b"true", "object|JSON"),
    _chat("a number", b"1", "object|JSON"),
    _chat("a string", b'"model"', "object|JSON"),
    _chat("a list", b"[]", "array|object|JSON"),
    _chat("a list of a good body", b"[" + _OBJECT % b"" + b"]", "array|object|JSON"),
    _chat("an open brace", b"{"),
    _chat("an empty object", b"{}", "model"),
    _chat("half an object", b'{"model":"chat","messages":[{"role"'),
    _chat("a brace too many", _OBJECT % b"" + b"}"),
    _chat("two objects", _OBJECT % b"" + _OBJECT % b""),
    _chat("two lines", _OBJECT % b"" + b"\n" + _OBJECT % b""),
    _chat("letters behind it", _OBJECT % b"" + b"smuggled"),
    _chat("NUL behind it", _OBJECT % b"" + b"\0"),
    _chat("a comma at the end", _OBJECT % b","),
    _chat("two commas", _OBJECT % b',,"a":1'),
    _chat("single quotes", b"{'model':'chat'}"),
    _chat("a key without quotes", b'{model:"chat"}'),
    _chat("a comment", _OBJECT % b"/* x */"),
    _chat("a line comment", b"// x\n" + _OBJECT % b""),
    _chat("an equals sign", b'{"model"="chat"}'),
    _chat("a form", b"model=chat&messages=hi"),
    _chat(
        "XML", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x/>"
    ),
    _chat("a pickle", b"\x80\x04\x95\x0f\0\0\0\0\0\0\0\x8c\x05posix\x94."),
    _chat("YAML", b"model: chat\nmessages: []\n"),
    _chat("a JSON sequence", b"\x1e" + _OBJECT % b""),
    _chat("Python's words", b'{"model":"chat","messages":None}'),
    _more("NaN", b'"temperature":NaN'),
    _more("Infinity", b'"temperature":Infinity'),
    _more("minus Infinity", b'"temperature":-Infinity'),
    _more("a hexadecimal number", b'"n":0x10'),
    _more("an octal number", b'"n":010'),
    _more("a number with a plus", b'"n":+1'),
    _more("a minus alone", b'"n":-'),
    _more("a point alone", b'"n":1.'),
    _more("an exponent alone", b'"n":1e'),
    _more("undefined", b'"n":undefined'),
    _more("a word cut short", b'"n":tru'),
    _more("a raw line feed in a string", b'"a":"x\ny"'),
    _more("a raw NUL in a string", b'"a":"x\0y"'),
    _more("an unknown escape", b'"a":"\\x41"'),
    _more("an escape cut short", b'"a":"\\u12"'),
    _more("a string without an end", b'"a":"x'),
]

TEXT = [
    _more("a byte that is not UTF-8", b'"a":"\xff"', "JSON|UTF-8"),
    _more("a key that is not UTF-8", b'"\xfe":1', "JSON|UTF-8"),
    _more("an overlong NUL", b'"a":"\xc0\x80"', "JSON|UTF-8"),
    _more("an overlong slash", b'"a":"\xe0\x80\xaf"', "JSON|UTF-8"),
    _more("half a character", b'"a":"\xe2\x82"', "JSON|UTF-8"),
    _more("a character beyond Unicode", b'"a":"\xf4\x90\x80\x80"', "JSON|UTF-8"),
    _more("an encoded surrogate", b'"a":"\xed\xa0\x80"', "JSON|UTF-8"),
    _more("an escaped half of a pair", b'"a":"\\ud800"', "JSON|surrogate"),
    _more("an escaped second half", b'"a":"\\udc00"', "JSON|surrogate"),
    _more("a half of a pair before a letter", b'"a":"\\ud83dx"', "JSON|surrogate"),
    _more("two first halves", b'"a":"\\ud800\\ud800"', "JSON|surrogate"),
    _more("a half of a pair in a key", b'"\\ud800":1', "JSON|surrogate"),
    _chat(
        "a half of a pair in the prompt",
        b'{"model":"chat","messages":[{"role":"user","content":"\\uD800"}]}',
        "JSON|surrogate",
    ),
    _chat("a byte order mark", b"\xef\xbb\xbf" + _OBJECT % b"", "JSON|byte order mark"),
    _chat("UTF-16", (_OBJECT % b"").decode().encode("utf-16"), "JSON|UTF-8"),
    _chat("UTF-16 without a mark", (_OBJECT % b"").decode().encode("utf-16-le"), "JSON|UTF-8"),
    _chat("UTF-32", (_OBJECT % b"").decode().encode("utf-32"), "JSON|UTF-8"),
    _chat("UTF-7", b"+AHs-+ACI-model+ACI-"),
    _harmless("a whole pair", _OBJECT % b',"a":"\\ud83d\\ude00"'),
    _harmless("an escaped NUL", _OBJECT % b',"a":"\\u0000"'),
    _harmless("an escaped backslash before ud800", _OBJECT % b',"a":"\\\\ud800"'),
]

DEPTH = [
    _more("101 lists", b'"a":' + b"[" * 101 + b"]" * 101, "deep|nest|depth|level"),
    _more("101 objects", b'"a":' + b'{"a":' * 101 + b"1" + b"}" * 101, "deep|nest|depth|level"),
    _more("10,000 lists", lambda: b'"a":' + b"[" * 10_000 + b"]" * 10_000, "JSON|deep|nest|depth"),
    _chat("a mebibyte of open brackets", lambda: b"[" * 1_048_576, "JSON|deep|nest|depth|array"),
    _chat("a mebibyte of open objects", lambda: b'{"a":' * 200_000, "JSON|deep|nest|depth"),
    _more(
        "a mebibyte of open brackets in a field",
        lambda: b'"a":' + b"[" * 1_048_576,
        "JSON|deep|nest|depth",
    ),
    _chat(
        "deep messages",
        lambda: b'{"model":"chat","messages":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        "JSON|deep|nest|depth",
    ),
    _harmless("90 lists", _OBJECT % (b',"a":' + b"[" * 90 + b"]" * 90)),
    _harmless("brackets in a string", lambda: _OBJECT % (b',"a":"' + b"[{" * 100_000 + b'"')),
    _harmless("a key of a megabyte", lambda: _OBJECT % (b',"' + b"k" * 1_000_000 + b'":1')),
    _harmless(
        "a string of three megabytes", lambda: _OBJECT % (b',"a":"' + b"v" * 3_000_000 + b'"')
    ),
    _harmless(
        "100,000 keys",
        lambda: _OBJECT % b"".join(b',"k%d":0' % number for number in range(100_000)),
    ),
    _harmless(
        "the keys of prototypes", _OBJECT % b',"__proto__":{"a":1},"constructor":{"prototype":{}}'
    ),
    Row(
        "chat: a body of 5 MB",
        lambda: post(_OBJECT % (b',"a":"' + b"v" * 5_000_000 + b'"')),
        (413,),
        "gateway.limits.body_bytes",
        closes=True,
    ),
]

NUMBERS = [
    _more("an integer of 5,000 digits", b'"n":' + b"9" * 5_000, "number|integer|digits"),
    _more("a negative integer of 5,000 digits", b'"n":-' + b"9" * 5_000, "number|integer|digits"),
    _more(
        "an integer of 5,000 digits in a list",
        b'"a":[' + b"1" * 5_000 + b"]",
        "number|integer|digits",
    ),
    _more("a megabyte of digits", lambda: b'"n":' + b"7" * 1_000_000, "number|integer|digits"),
    _chat("a model of 5,000 digits", b'{"model":' + b"9" * 5_000 + b"}", "model|number|integer"),
    _harmless("a number of 19 digits", _OBJECT % b',"seed":9223372036854775807'),
    _harmless("a number far below zero", _OBJECT % b',"seed":-9223372036854775808'),
    _harmless("many digits in a string", _OBJECT % (b',"a":"' + b"9" * 6_000 + b'"')),
]

TWICE = [
    _more("model twice", b'"model":"other"', "model"),
    _more("model twice, the same", b'"model":"chat"', "model"),
    _more("model and its escaped twin", b'"mod\\u0065l":"other"', "model"),
    _more("messages twice", _MESSAGE, "messages"),
    _chat("stream twice", _OBJECT % b',"stream":false,"stream":true', "stream"),
    _chat(
        "stream and its escaped twin", _OBJECT % b',"stream":false,"\\u0073tream":true', "stream"
    ),
    _chat(
        "model three times",
        b'{"model":"chat","model":"a","model":"chat",' + _MESSAGE + b"}",
        "model",
    ),
    _harmless("model in a nested object", _OBJECT % b',"metadata":{"model":"other","stream":true}'),
    _harmless("model in a string", _OBJECT % b',"a":"\\"model\\":\\"other\\""'),
]

_WRONG_MODELS: dict[str, Any] = {
    "a number": 1,
    "null": None,
    "true": True,
    "a list": ["chat"],
    "an object": {"name": "chat"},
    "a fraction": 1.5,
    "empty": "",
    "of 600 characters": "m" * 600,
}
_NAMED_WRONG = {
    name: value for name, value in _WRONG_MODELS.items() if value != "" and value is not None
}
_WRONG_STREAMS: dict[str, Any] = {
    "a string": "true",
    "a number": 1,
    "a list": [],
    "an object": {},
}
_WRONG_MESSAGES: dict[str, Any] = {"a string": "hi", "an object": {}, "a number": 1, "true": True}
_WRONG_USERS: dict[str, Any] = {"a number": 1, "a list": [], "an object": {}}
_WRONG_OPTIONS: dict[str, Any] = {
    "a string": "x",
    "a number": 1,
    "a list": [],
    "with a string": {"include_usage": "yes"},
    "with a number": {"include_usage": 1},
}


def _body(path: str, **fields: Any) -> bytes:
    sound: dict[str, Any] = {"model": "chat"}
    if path in {"chat", "messages"}:
        sound["messages"] = [{"role": "user", "content": "hi"}]
    else:
        sound["prompt" if path == "completions" else "input"] = "hi"
    if path == "messages":
        sound["max_tokens"] = 1
    return json.dumps(sound | fields).encode()


def _wrong(field: str, values: dict[str, Any], *paths: str) -> list[Row]:
    """Return rows in which one field has a wrong type, on each path."""
    return [
        Row(
            f"{path}: {field} is {name}",
            post(_body(path, **{field: value}), PATHS[path]),
            (400,),
            field,
        )
        for path in paths
        for name, value in values.items()
    ]


TYPES = [
    *_wrong("model", _WRONG_MODELS, "chat", "completions", "embeddings", "messages"),
    # A stored prompt may name the model of a response.
    *_wrong("model", _NAMED_WRONG, "responses"),
    *_wrong("stream", _WRONG_STREAMS, "chat", "completions", "responses", "messages"),
    *_wrong("messages", _WRONG_MESSAGES, "chat", "messages"),
    *_wrong("user", _WRONG_USERS, "chat", "completions", "embeddings", "responses"),
    *_wrong("safety_identifier", _WRONG_USERS, "chat"),
    *_wrong("stream_options", _WRONG_OPTIONS, "chat", "completions"),
    Row(
        "chat: a model nobody routes, with a line break",
        post(_body("chat", model="\r\nX-Injected: 1")),
        (one_of(200, 400, 404),),
        reaches=1,
    ),
    Row(
        "chat: a model of NUL", post(_body("chat", model="\0")), (one_of(200, 400, 404),), reaches=1
    ),
    Row("chat: a model of markup", post(_body("chat", model="<script>")), (200,), reaches=1),
    Row(
        "chat: a model that is a path",
        post(_body("chat", model="../../etc/passwd")),
        (200,),
        reaches=1,
    ),
]

ELSEWHERE = [
    *(
        Row(f"{path}: an empty object", post(b"{}", PATHS[path]), (400,), "model")
        for path in ("completions", "embeddings", "messages")
    ),
    *(
        Row(f"{path}: {name}", post(body, PATHS[path]), (400,), says)
        for path in ("completions", "embeddings", "responses", "messages")
        for name, body, says in (
            ("nothing", b"", "JSON|empty"),
            ("a list", b"[]", "array|object|JSON"),
            ("half an object", b'{"model":"cha', "JSON"),
            ("a byte that is not UTF-8", b'{"model":"chat","input":"\xff"}', "JSON|UTF-8"),
            ("half of a pair", b'{"model":"chat","input":"\\ud800"}', "JSON|surrogate"),
            ("model twice", b'{"model":"chat","model":"other"}', "model"),
            ("NaN", b'{"model":"chat","n":NaN}', "JSON"),
            (
                "101 lists",
                b'{"model":"chat","a":' + b"[" * 101 + b"]" * 101 + b"}",
                "deep|nest|depth",
            ),
        )
    ),
]

KINDS = [
    Row(
        "chat: JSON called a form",
        post(_OBJECT % b"", CHAT, _FORM),
        (one_of(200, 400, 415),),
        reaches=1,
    ),
    Row(
        "chat: a form called a form", post(b"model=chat", CHAT, _FORM), (one_of(400, 415),), "JSON"
    ),
    Row(
        "chat: multipart",
        post(b"--x--\r\n", CHAT, b"Content-Type: multipart/form-data; boundary=x"),
        (one_of(400, 415),),
        "JSON",
    ),
    Row(
        "chat: a content type of noise",
        post(b"{", CHAT, b"Content-Type: ;;;//,,"),
        (one_of(400, 415),),
    ),
    Row("chat: an empty content type", post(b"{", CHAT, b"Content-Type:"), (one_of(400, 415),)),
    Row("feedback: a list", post(b"[]", b"/v1/feedback"), (400,)),
    Row("feedback: nothing", post(b"", b"/v1/feedback"), (400,)),
    Row("feedback: deep", lambda: post(b"[" * 100_000, b"/v1/feedback"), (400,)),
    Row(
        "feedback: in a deep field",
        lambda: post(b'{"id":' + b"[" * 100_000, b"/v1/feedback"),
        (400,),
    ),
    Row(
        "feedback: an id of noise",
        post(b'{"id":"\' OR 1=1 --","score":1}', b"/v1/feedback"),
        (400,),
        "id",
    ),
    Row(
        "feedback: an id of 5,000 digits",
        post(b'{"id":' + b"9" * 5_000 + b"}", b"/v1/feedback"),
        (400,),
    ),
    Row(
        "feedback: an unknown field",
        post(b'{"id":"x","admin":true}', b"/v1/feedback"),
        (400,),
        "admin",
    ),
    Row("feedback: a score of NaN", post(b'{"id":"x","score":NaN}', b"/v1/feedback"), (400,)),
    Row(
        "feedback: a score of 1e999",
        post(b'{"id":"019a0000-0000-7000-8000-000000000000","score":1e999}', b"/v1/feedback"),
        (400,),
    ),
    Row("feedback: bytes that are not UTF-8", post(b'{"id":"\xff"}', b"/v1/feedback"), (400,)),
    Row(
        "feedback: half of a pair",
        post(b'{"id":"019a0000-0000-7000-8000-000000000000","label":"\\ud800"}', b"/v1/feedback"),
        (400,),
    ),
]
