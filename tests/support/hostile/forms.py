"""Rows of multipart bodies, and of bodies that are encoded."""

import gzip
import zlib
from collections.abc import Callable

from support.hostile.kit import CHAT, GOOD_BODY, Row, Status, one_of, post

_AUDIO = b"/v1/audio/transcriptions"
_IMAGES = b"/v1/images/edits"
_KIND = b"Content-Type: multipart/form-data; boundary=x"
_REFUSED = one_of(400, 415)
_UNNAMED = one_of(200, 400, 415)
"""Without a model the route for the rest may answer."""
_FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'


def field(value: bytes, disposition: bytes = b'form-data; name="model"', *lines: bytes) -> bytes:
    """Return one part with its opening boundary."""
    more = b"".join(b"\r\n" + line for line in lines)
    return b"--x\r\nContent-Disposition: " + disposition + more + b"\r\n\r\n" + value + b"\r\n"


def _form(
    name: str,
    body: bytes | Callable[[], bytes],
    says: str = "",
    *,
    expect: Status = _REFUSED,
    kind: bytes = _KIND,
) -> Row:
    """Return a row that transcriptions refuse."""
    sent = (
        post(body, _AUDIO, kind) if isinstance(body, bytes) else lambda: post(body(), _AUDIO, kind)
    )
    return Row(f"form: {name}", sent, (expect,), says, reaches=int(expect in {200, _UNNAMED}))


_MODEL = field(b"chat")
_SOUND = b"--x\r\n" + _FILE + b"\r\n\r\nRIFF\r\n"
_END = b"--x--\r\n"

FORMS = [
    _form(
        "no boundary", _MODEL + _SOUND + _END, "boundary", kind=b"Content-Type: multipart/form-data"
    ),
    _form("an empty boundary", _MODEL + _END, "boundary", kind=_KIND[:-1]),
    _form("a boundary of 5 kB", _MODEL + _END, "boundary", kind=_KIND + b"y" * 5_000),
    _form("another boundary", _MODEL + _END, "boundary|model", kind=_KIND[:-1] + b"y"),
    _form("two boundaries", b"--y" + _END, "boundary|model", kind=_KIND + b"; boundary=y"),
    _form("nothing", b"", "boundary|model|empty"),
    _form("noise", b"\xff\xfe\0" * 100, "boundary|model"),
    _form("no model", _SOUND + _END, "model", expect=_UNNAMED),
    _form("two models", _MODEL + field(b"other") + _SOUND + _END, "model"),
    _form("two equal models", _MODEL + _MODEL + _SOUND + _END, "model"),
    _form("an empty model", field(b"") + _SOUND + _END, "model", expect=_UNNAMED),
    _form("a model of 600 characters", field(b"m" * 600) + _SOUND + _END, "model"),
    _form("a model of a megabyte", lambda: field(b"m" * 1_000_000) + _SOUND + _END, "model"),
    _form("a model that is not UTF-8", field(b"\xff\xfe") + _SOUND + _END, "model"),
    _form(
        "a name given twice",
        field(b"chat", b'form-data; name="a"; name="model"') + _END,
        "model|form|part",
    ),
    _form(
        "a model behind an open quote",
        field(b"chat", b'form-data; name="model') + _END,
        "model|form|part",
    ),
    _form(
        "a part without a name",
        field(b"chat", b"form-data") + _END,
        "model|form|part",
        expect=_UNNAMED,
    ),
    _form(
        "a part without a head", b"--x\r\n\r\nchat\r\n" + _END, "model|form|part", expect=_UNNAMED
    ),
    _form(
        "a part whose head never ends",
        lambda: b"--x\r\n" + b"A: b\r\n" * 100_000,
        "model|form|part|head",
        expect=_UNNAMED,
    ),
    _form(
        "a part's field of a megabyte",
        lambda: b"--x\r\nA: " + b"b" * 1_000_000,
        "model|form|part|head",
        expect=_UNNAMED,
    ),
    _form(
        "100,000 empty parts",
        lambda: b"--x\r\n\r\n\r\n" * 100_000 + _END,
        "model|form|part",
        expect=_UNNAMED,
    ),
    _form(
        "100,000 boundaries",
        lambda: b"--x\r\n" * 100_000 + _END,
        "model|form|part",
        expect=_UNNAMED,
    ),
    _form(
        "a boundary that nearly matches, without end",
        lambda: b"\r\n--" * 500_000,
        "model|form|boundary",
        expect=_UNNAMED,
    ),
    _form(
        "line feeds alone", (_MODEL + _SOUND + _END).replace(b"\r\n", b"\n"), "model|form|boundary"
    ),
    _form(
        "a model inside a nested form",
        field(
            b"--y\r\n" + _MODEL[5:] + b"--y--",
            b'form-data; name="a"',
            b"Content-Type: multipart/mixed; boundary=y",
        )
        + _END,
        "model",
    ),
    _form("a JSON list", b"[]", kind=b"Content-Type: application/json"),
    _form(
        "JSON without a model",
        b"{}",
        "model|multipart",
        kind=b"Content-Type: application/json",
        expect=_UNNAMED,
    ),
    _form(
        "a form without parts",
        b"model=chat",
        kind=b"Content-Type: application/x-www-form-urlencoded",
        expect=_UNNAMED,
    ),
    _form("a good one", _MODEL + _SOUND + _END, expect=200),
    _form(
        "a good one with a preamble",
        b"smuggled\r\n" + _MODEL + _SOUND + _END,
        expect=one_of(200, 400),
    ),
    Row(
        "form: images without a model",
        post(_SOUND + _END, _IMAGES, _KIND),
        (one_of(200, 400),),
        reaches=1,
    ),
    Row(
        "form: images with two models",
        post(_MODEL + _MODEL + _END, _IMAGES, _KIND),
        (400,),
        "model",
    ),
]


def _bomb(megabytes: int) -> bytes:
    """Return zeros, packed by gzip to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(1_000_000)) for _ in range(megabytes)]
    return b"".join(parts) + packer.flush()


def _encoded(
    name: str,
    body: bytes | Callable[[], bytes],
    coding: bytes,
    expect: Status,
    says: str = "",
) -> Row:
    line = b"Content-Encoding: " + coding
    sent = post(body, CHAT, line) if isinstance(body, bytes) else lambda: post(body(), CHAT, line)
    return Row(f"encoded: {name}", sent, (expect,), says, reaches=int(expect == 200))


_GZIP = gzip.compress(GOOD_BODY)

ENCODED = [
    _encoded("a gzip bomb of 64 MB", lambda: _bomb(64), b"gzip", 413, "body_bytes"),
    _encoded("a bomb in a bomb", lambda: gzip.compress(_bomb(64)), b"gzip", one_of(400, 413)),
    _encoded(
        "a deflate bomb", lambda: zlib.compress(bytes(30_000_000), 9), b"deflate", 413, "body_bytes"
    ),
    _encoded("gzip that is none", GOOD_BODY, b"gzip", 400, "gzip|coding"),
    _encoded("gzip cut short", _GZIP[:-12], b"gzip", 400, "gzip|coding"),
    _encoded("gzip with a wrong checksum", _GZIP[:-8] + b"\0" * 8, b"gzip", 400, "gzip|coding"),
    _encoded("gzip with noise behind it", _GZIP + b"smuggled", b"gzip", 400, "gzip|coding"),
    _encoded("nothing as gzip", b"", b"gzip", 400),
    _encoded("deflate that is gzip", _GZIP, b"deflate", 400, "deflate|coding"),
    _encoded("bad JSON inside gzip", gzip.compress(b"{"), b"gzip", 400, "JSON"),
    _encoded("gzip twice, said once", gzip.compress(_GZIP), b"gzip", 400, "JSON|UTF-8|coding"),
    _encoded("gzip twice", gzip.compress(_GZIP), b"gzip, gzip", one_of(400, 415), "coding"),
    _encoded("a list of codings", _GZIP, b"gzip, identity", one_of(400, 415), "coding"),
    _encoded("brotli", b"\x0b\x02\x80{}\x03", b"br", 415, "coding"),
    _encoded("zstd", b"\x28\xb5\x2f\xfd", b"zstd", 415, "coding"),
    _encoded("a coding of noise", GOOD_BODY, b"\"';--", 415, "coding"),
    _encoded("a coding of 4 kB", GOOD_BODY, b"x" * 4_000, 415, "coding"),
    _encoded("identity", GOOD_BODY, b"identity", 200),
    _encoded("good gzip", _GZIP, b"gzip", 200),
    _encoded("good deflate", zlib.compress(GOOD_BODY), b"deflate", 200),
    _encoded("good gzip in capitals", _GZIP, b"GZIP", 200),
    Row(
        "encoded: two fields",
        post(_GZIP, CHAT, b"Content-Encoding: gzip", b"Content-Encoding: gzip"),
        (one_of(400, 415),),
        "coding|gzip",
    ),
    Row(
        "encoded: a 1000 times larger second field",
        lambda: post(_bomb(64), CHAT, b"Content-Encoding: identity", b"Content-Encoding: gzip"),
        (one_of(400, 413, 415),),
    ),
]
