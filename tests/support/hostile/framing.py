"""Rows about where a request ends: lengths, codings, chunks, pipelines, Expect and upgrades."""

from support.hostile.kit import (
    ALIVE,
    CHAT,
    GOOD_BODY,
    HOST,
    JSON,
    SMUGGLED,
    Row,
    get,
    one_of,
    post,
)

_POST = b"POST " + CHAT + b" HTTP/1.1\r\n" + HOST + JSON
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_GOOD_CHUNK = b"%x\r\n%b\r\n" % (len(GOOD_BODY), GOOD_BODY)


def _framed(name: str, fields: bytes, body: bytes = b"0\r\n\r\n", says: str = "") -> Row:
    """Return a row whose framing two parsers could read differently."""
    return Row(name, _POST + fields + b"\r\n\r\n" + body + SMUGGLED, (400,), says, closes=True)


def _chunks(name: str, body: bytes, says: str = "") -> Row:
    """Return a row whose chunks are broken."""
    return Row(name, _CHUNKED + body + SMUGGLED, (400,), says, closes=True)


_CL = b"Content-Length: 4"
_TE = b"Transfer-Encoding: chunked"

LENGTHS = [
    _framed("a length before chunks", _CL + b"\r\n" + _TE),
    _framed("chunks before a length", _TE + b"\r\n" + _CL),
    _framed("a length of zero and chunks", b"Content-Length: 0\r\n" + _TE),
    _framed("two lengths", b"Content-Length: 1\r\nContent-Length: 2", b"ab"),
    _framed("the same length twice", b"Content-Length: 1\r\ncontent-length: 1", b"a"),
    _framed("a list of lengths", b"Content-Length: 1, 1", b"a"),
    _framed("a list of different lengths", b"Content-Length: 1, 2", b"ab"),
    _framed("a length with a plus", b"Content-Length: +1", b"a"),
    _framed("a negative length", b"Content-Length: -1", b""),
    _framed("a hexadecimal length", b"Content-Length: 0x10", b"a" * 16),
    _framed("a length with an exponent", b"Content-Length: 1e1", b"a" * 10),
    _framed("a length with a fraction", b"Content-Length: 1.0", b"a"),
    _framed("a length with an underscore", b"Content-Length: 1_0", b"a" * 10),
    _framed("a length with a space inside", b"Content-Length: 1 0", b"a" * 10),
    _framed("a length in quotes", b'Content-Length: "1"', b"a"),
    _framed("a length without digits", b"Content-Length:", b""),
    _framed("a length of letters", b"Content-Length: smuggled", b""),
    _framed("a length of other digits", "Content-Length: ١".encode(), b"a"),
    _framed("a length beyond 64 bits", b"Content-Length: 99999999999999999999999", b""),
    _framed("a length that wraps to 4", b"Content-Length: 18446744073709551620", b"abcd"),
    _framed("a length of 10 kB", b"Content-Length: " + b"9" * 10_000, b""),
    _framed("a space before the length's colon", b"Content-Length : 4", b"abcd"),
    Row(
        "a length of a terabyte",
        _POST + b"Content-Length: 1000000000000\r\n\r\n" + SMUGGLED,
        (413,),
        "gateway.limits.body_bytes",
        closes=True,
    ),
    Row(
        "a length with zeros in front",
        _POST + b"Content-Length: 000%d\r\n\r\n" % len(GOOD_BODY) + GOOD_BODY,
        (one_of(200, 400),),
        reaches=1,
    ),
    Row(
        "a length shorter than the body",
        _POST + b"Content-Length: 5\r\n\r\n" + GOOD_BODY,
        (400, 400),
        closes=True,
    ),
]

CODINGS = [
    _framed("an unknown coding", b"Transfer-Encoding: xchunked"),
    _framed("a coding that is not chunked", b"Transfer-Encoding: gzip"),
    _framed("the coding identity", b"Transfer-Encoding: identity", b""),
    _framed("chunked is not last", b"Transfer-Encoding: chunked, identity"),
    _framed("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    _framed("two codings fields", _TE + b"\r\n" + _TE),
    _framed("a second coding that hides", _TE + b"\r\nTransfer-Encoding: cow"),
    _framed("a coding with a parameter", b"Transfer-Encoding: chunked;q=1"),
    _framed("a coding in quotes", b'Transfer-Encoding: "chunked"'),
    _framed("an empty coding", b"Transfer-Encoding:", b""),
    _framed("a vertical tab before the coding", b"Transfer-Encoding:\x0bchunked"),
    _framed("a space before the coding's colon", b"Transfer-Encoding : chunked"),
    _framed("a coding folded onto its own line", b"Transfer-Encoding:\r\n chunked"),
    _framed("a comma before the coding", b"Transfer-Encoding: ,chunked"),
    Row(
        "a coding in HTTP/1.0",
        b"POST " + CHAT + b" HTTP/1.0\r\n" + HOST + _TE + b"\r\n\r\n0\r\n\r\n" + SMUGGLED,
        (400,),
        closes=True,
    ),
    Row(
        "a second coding",
        _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        (400,),
        "chunked",
        closes=True,
    ),
    Row(
        "a coding in capitals",
        _POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + _GOOD_CHUNK + b"0\r\n\r\n",
        (200,),
        reaches=1,
    ),
    Row(
        "a length with an underscore for its dash",
        _POST + b"Content_Length: 4\r\nContent-Length: 0\r\n\r\n",
        (400,),
        "JSON|empty",
    ),
]

CHUNKS = [
    _chunks("line feeds alone", b"1\na\n0\n\n"),
    _chunks("a space behind the size", b"1 \r\na\r\n0\r\n\r\n"),
    _chunks("a space before the size", b" 1\r\na\r\n0\r\n\r\n"),
    _chunks("a size of 0x", b"0x1\r\na\r\n0\r\n\r\n"),
    _chunks("a size with a plus", b"+1\r\na\r\n0\r\n\r\n"),
    _chunks("a negative size", b"-1\r\n"),
    _chunks("a size with an underscore", b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
    _chunks("a size beyond 64 bits", b"fffffffffffffffff\r\n"),
    _chunks("a size that wraps to 1", b"10000000000000001\r\na\r\n0\r\n\r\n"),
    _chunks("no size", b"\r\na\r\n0\r\n\r\n"),
    _chunks("a size of letters", b"smuggled\r\n"),
    _chunks("more data than the size", b"1\r\nab\r\n0\r\n\r\n"),
    _chunks("data without an end", b"1\r\na0\r\n\r\n"),
    _chunks("an extension with a line feed", b"1;a\nb\r\na\r\n0\r\n\r\n"),
    _chunks("an extension with a carriage return", b"1;a\rb\r\na\r\n0\r\n\r\n"),
    _chunks("an extension with NUL", b"1;a=\0\r\na\r\n0\r\n\r\n"),
    _chunks("an extension in an open quote", b'1;a="\r\na\r\n0\r\n\r\n'),
    _chunks("a trailer with a space in its name", b"0\r\nX Injected: 1\r\n\r\n"),
    _chunks("a folded trailer", b"0\r\nA: a\r\n b\r\n\r\n"),
    _chunks("a length in the trailer", b"0\r\nContent-Length: 4\r\n\r\n"),
    _chunks("a coding in the trailer", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Row(
        "a trailer without an end",
        lambda: _CHUNKED + b"0\r\nA: " + b"x" * 500_000,
        (one_of(400, 431),),
        "gateway.limits.header_bytes|not an HTTP",
        closes=True,
    ),
    Row(
        "trailers without number",
        lambda: _CHUNKED + b"0\r\n" + b"a: b\r\n" * 100_000,
        (one_of(400, 431),),
        "gateway.limits.header|not an HTTP",
        closes=True,
    ),
    Row(
        "an extension without an end",
        lambda: _CHUNKED + b"1;" + b"x" * 500_000,
        (one_of(400, 431),),
        closes=True,
    ),
    Row(
        "zeros of a size without end",
        lambda: _CHUNKED + b"0" * 500_000,
        (one_of(400, 431),),
        closes=True,
    ),
    Row(
        "a body in chunks of one byte",
        _CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD_BODY) + b"0\r\n\r\n",
        (200,),
        reaches=1,
    ),
    Row(
        "extensions heavier than their data",
        lambda: (
            _CHUNKED
            + b"".join(b"1;%b\r\n%c\r\n" % (b"x" * 4_000, byte) for byte in GOOD_BODY)
            + b"0\r\n\r\n"
        ),
        (one_of(400, 413, 431),),
        closes=True,
    ),
    Row(
        "trailers that look like ours",
        _CHUNKED + _GOOD_CHUNK + b"0\r\nX-Injected: 1\r\nX-Driftgate-Route: nowhere\r\n\r\n",
        (200,),
        reaches=1,
    ),
    Row(
        "more than the largest body, in chunks",
        lambda: _CHUNKED + (b"40000\r\n" + b"x" * 0x40000 + b"\r\n") * 20,
        (413,),
        "gateway.limits.body_bytes",
        closes=True,
    ),
]

PIPELINES = [
    Row(
        "a good request before noise",
        ALIVE + b"GARBAGE\r\n\r\n" + SMUGGLED,
        (200, 400),
        closes=True,
    ),
    Row("fifty requests at once", ALIVE * 50, (200,) * 50),
    Row("a refusal between two answers", ALIVE + post(b"{") + ALIVE, (200, 400, 200)),
    Row(
        "a request behind Connection: close",
        get(b"/healthz", b"Connection: close") + SMUGGLED,
        (200,),
        closes=True,
    ),
    Row(
        "a request behind HTTP/1.0",
        b"GET /healthz HTTP/1.0\r\n\r\n" + SMUGGLED,
        (200,),
        closes=True,
    ),
    Row(
        "a body on a request that has none by habit",
        get(b"/healthz", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
        (200,),
    ),
    Row(
        "chunks on a GET",
        get(b"/healthz", _TE) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        (200,),
    ),
    Row(
        "a DELETE that carries a request",
        get(b"/v1/embeddings", b"Content-Length: %d" % len(SMUGGLED), method=b"DELETE") + SMUGGLED,
        (405,),
    ),
    Row(
        "a body cut by the next request",
        _POST + b"Content-Length: 400\r\n\r\n{" + b" " * 399,
        (400,),
    ),
]

EXPECTATIONS = [
    Row(
        "an unknown expectation",
        post(GOOD_BODY, CHAT, b"Expect: 200-ok"),
        (417,),
        "100",
        closes=True,
    ),
    Row("two expectations", post(GOOD_BODY, CHAT, b"Expect: 100-continue, x"), (417,), closes=True),
    Row(
        "an expectation with a body that is too large",
        _POST + b"Content-Length: 900000000\r\nExpect: 100-continue\r\n\r\n",
        (413,),
        "gateway.limits.body_bytes",
        closes=True,
    ),
    Row("an expectation without a body", get(b"/healthz", b"Expect: 100-continue"), (200,)),
    Row(
        "an expectation with its body",
        post(GOOD_BODY, CHAT, b"Expect: 100-continue"),
        (200,),
        reaches=1,
    ),
    Row(
        "an expectation of a wrong path",
        _POST.replace(CHAT, b"/nowhere") + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        (404,),
        closes=True,
    ),
]

_REALTIME = b"/v1/realtime?model=chat"
_WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")
_KEY = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")

UPGRADES = [
    Row(
        "a WebSocket where there is none",
        get(b"/healthz", *_WEBSOCKET, *_KEY) + SMUGGLED,
        (200,),
        closes=True,
    ),
    Row(
        "h2c",
        get(b"/healthz", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c") + SMUGGLED,
        (200,),
        closes=True,
    ),
    Row(
        "a protocol nobody knows",
        get(b"/healthz", b"Connection: upgrade", b"Upgrade: smuggled") + SMUGGLED,
        (200,),
        closes=True,
    ),
    Row(
        "a WebSocket on embeddings",
        get(b"/v1/embeddings", *_WEBSOCKET, *_KEY) + SMUGGLED,
        (405,),
        "POST",
        closes=True,
    ),
    Row(
        "a POST that offers a WebSocket",
        post(GOOD_BODY, CHAT, *_WEBSOCKET, *_KEY) + SMUGGLED,
        (200,),
        closes=True,
        reaches=1,
    ),
    Row(
        "a chunked POST that offers a WebSocket",
        _POST
        + b"\r\n".join((*_WEBSOCKET, *_KEY, _TE))
        + b"\r\n\r\n"
        + _GOOD_CHUNK
        + b"0\r\n\r\n"
        + SMUGGLED,
        (200,),
        closes=True,
        reaches=1,
    ),
    Row(
        "h2c on realtime",
        get(_REALTIME, b"Connection: Upgrade", b"Upgrade: h2c") + SMUGGLED,
        (200,),
        closes=True,
        reaches=1,
    ),
    Row(
        "a protocol nobody knows on realtime",
        get(_REALTIME, b"Connection: Upgrade", b"Upgrade: TLS/1.0") + SMUGGLED,
        (200,),
        closes=True,
        reaches=1,
    ),
    Row(
        "two models in the query of realtime",
        get(_REALTIME + b"&model=other", *_WEBSOCKET, *_KEY) + SMUGGLED,
        (400,),
        "model",
        closes=True,
    ),
    Row(
        "a model of bytes in the query of realtime",
        get(b"/v1/realtime?model=%ff%00%0d%0a", *_WEBSOCKET, *_KEY) + SMUGGLED,
        (400,),
        "model",
        closes=True,
    ),
    Row(
        "a model of 600 characters in the query of realtime",
        get(b"/v1/realtime?model=" + b"m" * 600, *_WEBSOCKET, *_KEY),
        (400,),
        "model",
        closes=True,
    ),
    Row(
        "a POST to realtime",
        post(b"{}", _REALTIME, *_WEBSOCKET, *_KEY) + SMUGGLED,
        (405,),
        "GET",
        closes=True,
    ),
    Row(
        "a WebSocket with a body",
        get(_REALTIME, *_WEBSOCKET, *_KEY, b"Content-Length: 5") + b"hello" + SMUGGLED,
        (200,),
        closes=True,
        reaches=1,
    ),
    Row("an Upgrade without Connection", get(b"/healthz", b"Upgrade: websocket"), (200,)),
    Row("Connection: Upgrade alone", get(b"/healthz", b"Connection: Upgrade"), (200,)),
    Row(
        "a WebSocket over HTTP/1.0",
        b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n".join(_WEBSOCKET) + b"\r\n\r\n" + SMUGGLED,
        (200,),
        closes=True,
    ),
]
