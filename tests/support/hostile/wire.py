"""Rows below HTTP: request lines, targets, methods, field lines, Host, and their limits."""

from support.hostile.kit import ALIVE, HOST, SMUGGLED, Row, get, post

_LINE = b"GET /healthz HTTP/1.1\r\n"


def _with(fields: bytes) -> bytes:
    """Return a request whose head holds these raw lines."""
    return _LINE + HOST + fields + b"\r\n\r\n"


def _start(line: bytes) -> bytes:
    """Return a request with this raw start line."""
    return line + b"\r\n" + HOST + b"\r\n"


def _bad(name: str, sent: bytes, says: str = "not an HTTP/1.1 request") -> Row:
    return Row(name, sent + SMUGGLED, (400,), says, closes=True)


PROTOCOLS = [
    _bad("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 32),
    _bad("an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n"),
    _bad("a Redis command", b"*1\r\n$4\r\nPING\r\n"),
    _bad("SMTP", b"EHLO smuggled.example\r\n"),
    _bad("a PROXY header", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + ALIVE),
    _bad("binary noise", bytes(range(128, 256)) * 4),
    _bad("NUL bytes", b"\0" * 64),
    _bad("words without a version", b"hello world\r\n\r\n", ""),
    Row("HTTP/0.9", b"GET /healthz\r\n\r\n", (400,), "speaks HTTP/1.1", closes=True),
    Row(
        "an HTTP/2 preface",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        (400,),
        "speaks HTTP/1.1",
        closes=True,
    ),
    *(
        Row(
            f"version {version}",
            _start(b"GET /healthz " + raw),
            (400,),
            "speaks HTTP/1.1",
            closes=True,
        )
        for version, raw in (("2.0", b"HTTP/2.0"), ("3.0", b"HTTP/3.0"), ("1.2", b"HTTP/1.2"))
    ),
    _bad("a version of two digits", _start(b"GET /healthz HTTP/1.10")),
    _bad("a version without a dot", _start(b"GET /healthz HTTP/11"), ""),
    _bad("a version in lower case", _start(b"GET /healthz http/1.1")),
    _bad("another protocol's name", _start(b"GET /healthz HTTQ/1.1")),
    _bad("words behind the version", _start(b"GET /healthz HTTP/1.1 X-Injected: 1")),
]

LINES = [
    _bad("a line feed alone ends every line", b"GET /healthz HTTP/1.1\nHost: h\n\n"),
    _bad("a line feed alone ends the request line", b"GET /healthz HTTP/1.1\nHost: h\r\n\r\n"),
    _bad("a line feed alone ends a field", _with(b"A: b\nX-Injected: 1")),
    _bad("a line feed alone ends the head", _LINE + b"Host: h\r\n\n"),
    _bad("a carriage return inside a value", _with(b"A: b\rX-Injected: 1")),
    _bad("a carriage return inside a name", _with(b"A\rX-Injected: 1")),
    _bad("a carriage return inside the target", _start(b"GET /heal\rthz HTTP/1.1"), ""),
    _bad("NUL inside a value", _with(b"A: a\0b")),
    _bad("NUL inside a name", _with(b"A\0B: a")),
    _bad("NUL inside the target", _start(b"GET /healthz\0 HTTP/1.1"), "target|request"),
    _bad("NUL inside the method", _start(b"GE\0T /healthz HTTP/1.1")),
    _bad("a folded field", _with(b"A: a\r\n X-Injected: 1")),
    _bad("a field folded by a tab", _with(b"A: a\r\n\tX-Injected: 1")),
    _bad("a fold before any field", _LINE + b" Host: h\r\n\r\n"),
    _bad("a space before the colon", _with(b"A : a")),
    _bad("a tab before the colon", _with(b"A\t: a")),
    _bad("a field without a name", _with(b": a")),
    _bad("a field without a colon", _with(b"X-Injected")),
    _bad("a name with a space", _with(b"X Injected: 1")),
    _bad("a name in brackets", _with(b"(A): 1")),
    _bad("a name with a slash", _with(b"a/b: 1")),
    _bad("a name in Latin-1", _with(b"A\xe9: 1")),
    _bad("a name with an escape", _with(b"A\x1b[2J: 1")),
    _bad("an escape sequence in a value", _with(b"A: \x1b[2J")),
    _bad("a control character in a value", _with(b"A: a\x01b")),
    _bad("DEL in a value", _with(b"A: a\x7fb")),
    Row("an empty line before the request", b"\r\n" + ALIVE, (200,)),
    Row("a value of Latin-1", _with(b"A: \xe9\xff"), (200,)),
    Row("an empty value", _with(b"A:"), (200,)),
    Row("two spaces in the request line", _start(b"GET  /healthz HTTP/1.1"), (200,)),
    Row("a tab in the request line", _start(b"GET\t/healthz HTTP/1.1"), (400,), closes=True),
    Row("a request line without a target", _start(b"GET HTTP/1.1"), (400,), closes=True),
    Row("a space before the method", b" " + ALIVE, (400,), closes=True),
]

METHODS = [
    _bad("a method in lower case", _start(b"get /healthz HTTP/1.1")),
    _bad("a method nobody knows", _start(b"SMUGGLED /healthz HTTP/1.1")),
    _bad("a method of 100 kB", b"G" * 100_000),
    _bad("a method with a colon", _start(b"GET: /healthz HTTP/1.1")),
    Row(
        "CONNECT",
        b"CONNECT upstream:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        (405,),
        "CONNECT",
        closes=True,
    ),
    *(
        Row(f"{name} where GET belongs", get(b"/healthz", method=name.encode()), (405,), name)
        for name in ("TRACE", "DELETE", "PURGE", "PROPFIND", "OPTIONS", "PATCH", "M-SEARCH")
    ),
    *(
        Row(
            f"{name} where POST belongs", get(b"/v1/embeddings", method=name.encode()), (405,), name
        )
        for name in ("GET", "TRACE", "PUT", "DELETE", "OPTIONS")
    ),
    Row("HEAD where POST belongs", get(b"/v1/embeddings", method=b"HEAD"), (405,), head=True),
    Row("GET on feedback", get(b"/v1/feedback"), (405,), "POST"),
    Row("POST on the health check", post(b"{}", b"/healthz"), (405,), "GET"),
    Row("a method override", get(b"/healthz", b"X-HTTP-Method-Override: DELETE"), (200,)),
]

TARGETS = [
    _bad("the authority form", _start(b"GET evil:80 HTTP/1.1"), "target"),
    _bad("a name without a slash", _start(b"GET healthz HTTP/1.1"), ""),
    _bad("a fragment", _start(b"GET /healthz#x HTTP/1.1"), "target"),
    _bad("a fragment in the query", _start(b"GET /healthz?a#x HTTP/1.1"), "target"),
    _bad("raw UTF-8", _start("GET /healthz/é HTTP/1.1".encode()), "percent-encoded"),
    _bad("raw bytes", _start(b"GET /\xff\xfe HTTP/1.1"), "percent-encoded"),
    _bad("a control character", _start(b"GET /a\x01b HTTP/1.1"), ""),
    _bad("DEL", _start(b"GET /a\x7fb HTTP/1.1"), ""),
    _bad("a space in the path", _start(b"GET /health z HTTP/1.1"), ""),
    _bad("a space in the query", _start(b"GET /healthz?a b HTTP/1.1"), ""),
    Row(
        "a target of 9 kB",
        _start(b"GET /" + b"a" * 9_000 + b" HTTP/1.1"),
        (414,),
        "8192",
        closes=True,
    ),
    Row(
        "a query of 9 kB",
        _start(b"GET /healthz?" + b"a" * 9_000 + b" HTTP/1.1"),
        (414,),
        "8192",
        closes=True,
    ),
    Row(
        "a target without an end", lambda: b"GET /" + b"a" * 1_000_000, (414,), "8192", closes=True
    ),
    Row("the asterisk", _start(b"OPTIONS * HTTP/1.1"), (404,)),
    Row("the absolute form means its path", _start(b"GET http://evil/healthz HTTP/1.1"), (200,)),
    Row(
        "the absolute form with credentials",
        _start(b"GET http://user:pass@evil/healthz HTTP/1.1"),
        (200,),
    ),
    Row("the absolute form without a path", _start(b"GET http://evil HTTP/1.1"), (404,)),
    Row("the absolute form of FTP", _start(b"GET ftp://evil/healthz HTTP/1.1"), (200,)),
    Row("an authority of slashes", _start(b"GET //evil/v1/models HTTP/1.1"), (404,)),
    Row("a query of percent signs", get(b"/healthz?%&%zz&%%00"), (200,)),
    Row("a query without a path's end", get(b"/healthz?"), (200,)),
    Row("question marks", get(b"/healthz???a=?"), (200,)),
    Row("markup in the query", get(b"/healthz?a=<script>alert(1)</script>&b='\"|^`{}"), (200,)),
    Row("line breaks in the query", get(b"/healthz?a=%0d%0aX-Injected:%201"), (200,)),
]


def _host(name: str, fields: bytes) -> Row:
    sent = _LINE + fields + b"\r\n" + SMUGGLED
    return Row(f"Host: {name}", sent, (400,), "Host", closes=True)


HOSTS = [
    _host("none", b""),
    _host("two", b"Host: a\r\nHost: b\r\n"),
    _host("the same twice", b"Host: a\r\nhost: a\r\n"),
    _host("a path", b"Host: x/#@evil\r\n"),
    _host("a path to a page of ours", b"Host: h/healthz?\r\n"),
    _host("two words", b"Host: a b\r\n"),
    _host("a list", b"Host: a\tb\r\n"),
    _host("credentials", b"Host: user@h\r\n"),
    _host("an open bracket", b"Host: [::1\r\n"),
    _host("a port of letters", b"Host: h:smuggled\r\n"),
    _host("two ports", b"Host: h:80:80\r\n"),
    _host("quotes", b'Host: "h"\r\n'),
    _host("bytes beyond ASCII", b"Host: \xff\r\n"),
]

SIZES = [
    Row(
        "one field of 70 kB",
        lambda: _with(b"A: " + b"x" * 70_000),
        (431,),
        "gateway.limits.header_bytes",
        closes=True,
    ),
    Row(
        "a field that never ends",
        lambda: _LINE + HOST + b"A: " + b"x" * 2_000_000,
        (431,),
        "gateway.limits.header_bytes",
        closes=True,
    ),
    Row(
        "a name that never ends",
        lambda: _LINE + HOST + b"x" * 2_000_000,
        (431,),
        "gateway.limits.header_bytes",
        closes=True,
    ),
    Row(
        "seventy fields of 1 kB",
        lambda: _with(b"".join(b"A%d: %b\r\n" % (n, b"x" * 1_000) for n in range(70)) + b"B:"),
        (431,),
        "gateway.limits.header_bytes",
        closes=True,
    ),
    Row(
        "101 fields",
        _with(b"".join(b"A%d: x\r\n" % n for n in range(100)) + b"B:"),
        (431,),
        "gateway.limits.header_count",
        closes=True,
    ),
    Row(
        "10,000 fields",
        lambda: _with(b"".join(b"A%d: x\r\n" % n for n in range(10_000)) + b"B:"),
        (431,),
        "gateway.limits.header",
        closes=True,
    ),
    Row(
        "100,000 fields of two bytes",
        lambda: _with(b"a:\r\n" * 100_000 + b"b:"),
        (431,),
        "gateway.limits.header",
        closes=True,
    ),
    Row(
        "empty lines before the request, without end",
        lambda: b"\r\n" * 200_000,
        (431,),
        "gateway.limits.header_bytes",
        closes=True,
    ),
    Row("ninety fields", _with(b"".join(b"A%d: x\r\n" % n for n in range(90)) + b"B:"), (200,)),
    Row("one field of 60 kB", lambda: _with(b"A: " + b"x" * 60_000), (200,)),
    Row("90 equal fields", _with(b"A: x\r\n" * 90 + b"B:"), (200,)),
]
