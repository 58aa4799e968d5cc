"""What a JSON body may not be, beyond its syntax: too deep, ambiguous, or not text."""

import re
from itertools import accumulate

from gateway.errors import InvalidRequest

MAX_DEPTH = 100
MAX_BRACKETS = 400_000
"""Of arrays and objects in a body that has to be measured; it keeps the measuring quick."""
MAX_DIGITS = 400
MAX_KEYS = 1_000
"""Of the names below, anywhere in a body that has two of one; it keeps the looking quick."""

_DIGITS = re.compile(rb"[0-9]{8}")
# Without the look behind, each run of digits would be read once for each of its digits.
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))
_FEW = 8
_OPEN, _CLOSE = b"[{", b"]}"
_NOT_BRACKETS = bytes(code for code in range(256) if code not in _OPEN + _CLOSE)
_STEPS = [(code in _OPEN) - (code in _CLOSE) for code in range(256)]


def _spelled(name: bytes) -> bytes:
    """Return a pattern of a name in JSON, each letter plain or escaped."""

    def letter(code: int) -> bytes:
        low = b"%x" % (code & 15)
        return rb"(?:%c|\\u00%x[%b%b])" % (code, code >> 4, low, low.upper())

    return b"".join(letter(code) for code in name)


# Keys that decide what is asked of whom: two of one kind, and each reader takes another.
_NAMES = (b"model", b"stream", b"messages")
_KEY = re.compile(rb'"(?:%b)"\s*:' % b"|".join(b"(%b)" % _spelled(name) for name in _NAMES))


def check(body: bytes) -> None:
    """Refuse a body of sound syntax that servers would read in different ways, or choke on.

    Syntax is the decoder's matter: this relies on balanced brackets and closed strings.

    Raises
    ------
    InvalidRequest
        It is not UTF-8; it is nested deeper than `MAX_DEPTH`; `model`, `stream` or `messages`
        stands in it twice; a number has more than `MAX_DIGITS` digits.
    """
    if not body.isascii():
        _check_utf8(body)
    count = body.count
    if (
        count(b'"model"') > 1
        or count(b'"stream"') > 1
        or count(b'"messages"') > 1
        or (body.find(b"\\") >= 0 and body.find(b"\\u00") >= 0)
    ):
        _check_repeats(body)
    if _has_many_brackets(body):
        _check_depth(body)
    # A number so long shows in every fiftieth byte; looking at those costs nothing.
    if _DIGITS.search(body[::50]) is not None and _LONG_NUMBER.search(_outside(body)) is not None:
        raise InvalidRequest(f"The request body holds a number of more than {MAX_DIGITS} digits.")


def _has_many_brackets(body: bytes) -> bool:
    """Say whether a body could be nested too deep; most have few brackets."""
    left, find = _FEW, body.find
    # Finding a few costs a third of counting all.
    at = find(b"{")
    while at >= 0 and left:
        left -= 1
        at = find(b"{", at + 1)
    at = find(b"[")
    while at >= 0 and left:
        left -= 1
        at = find(b"[", at + 1)
    return not left and body.count(b"{") + body.count(b"[") > MAX_DEPTH


def _check_utf8(body: bytes) -> None:
    try:
        str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The request body is not UTF-8: {error.reason} at byte {error.start}."
        ) from error


def _check_repeats(body: bytes) -> None:
    """Refuse a second key of one name at the top level, however it is written."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    depth, at = 0, 0
    seen: set[int | None] = set()
    for found, match in enumerate(_KEY.finditer(body)):
        if found >= MAX_KEYS:
            raise InvalidRequest(
                f"The request body holds more than {MAX_KEYS} keys named `model`, `stream` or"
                " `messages`."
            )
        depth += _rise(_outside(body[at : match.start()]))
        at = match.start()
        if depth != 1:
            continue
        if match.lastindex in seen:
            name = _NAMES[(match.lastindex or 1) - 1].decode()
            raise InvalidRequest(f"The request body has two keys `{name}`; send one.", param=name)
        seen.add(match.lastindex)


def _outside(body: bytes) -> bytes:
    """Return what stands outside the strings."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(body.split(b'"')[::2])


def _rise(outside: bytes) -> int:
    """Return by how much the depth rises over a piece."""
    opened = outside.count(b"{") + outside.count(b"[")
    return opened - outside.count(b"}") - outside.count(b"]")


def _check_depth(body: bytes) -> None:
    brackets = _outside(body).translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * MAX_BRACKETS:
        raise InvalidRequest(f"The request body holds more than {MAX_BRACKETS} arrays and objects.")
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise InvalidRequest(f"The request body is nested deeper than {MAX_DEPTH} levels.")
