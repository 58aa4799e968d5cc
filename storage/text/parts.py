"""Requests in pieces that repeat: a growing chat then costs its new messages alone.

A request is cut at the borders of its messages and of its large values. Parquet's dictionary
stores equal pieces once for each row group. Nothing depends on where the cuts are: the pieces
joined are the request, byte for byte.
"""

import msgspec

SEPARATOR = b"\x1e"
"""Stands at the cuts; JSON cannot hold it, and other bodies that do are not cut."""

_LISTS = frozenset({"messages", "input", "contents"})
_LARGE_BYTES = 128
# Shorter neighbours stay together, so that a list of numbers is not a list of pieces.
_PIECE_BYTES = 64
# Searching for more of a value is slower and finds it no surer.
_BEGINNING_BYTES = 40
_ASCII_END = 0x80
_OPENINGS = (b'{"role":', b'{"role": ', b'{"type":', b'{"content":')

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def marked_request(body: bytes) -> str:
    """Return a request as text with a separator at each cut; bytes that are no UTF-8 are U+FFFD.

    A body that holds the separator itself gets no cut, see `is_cut`.
    """
    pieces = split_request(body)
    if len(pieces) > 1:
        body = SEPARATOR.join(pieces)
    return body.decode("utf-8", "replace")


def is_cut(body: bytes) -> bool:
    """Whether separators in the marked form of a body are cuts."""
    return SEPARATOR not in body


def split_request(body: bytes) -> list[bytes]:
    """Return the pieces of a request, in order: joined, they are the request.

    Every cut has an ASCII character at its left, so that pieces and whole decode alike.
    """
    if len(body) < _LARGE_BYTES or not is_cut(body):
        return [body]
    pieces = []
    last = 0
    for cut in _cuts(body):
        # A cut behind anything but ASCII may lie within a character.
        if last < cut <= len(body) and body[cut - 1] < _ASCII_END:
            pieces.append(body[last:cut])
            last = cut
    if last < len(body):
        pieces.append(body[last:])
    return pieces


def _cuts(body: bytes) -> list[int]:
    try:
        values = _OBJECT.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return _cuts_of_torn(body) if body[:1] == b"{" else []
    cuts: list[int] = []
    at = 0
    for name, value in values.items():
        view = memoryview(value)
        size = view.nbytes
        # What is found may be another place that begins alike: any cut is right.
        start = body.find(view[:_BEGINNING_BYTES], at) if size >= _LARGE_BYTES else -1
        if start < 0:
            continue
        if name in _LISTS and body[start : start + 1] == b"[":
            cuts += _item_cuts(body, start, value)
        elif start:
            cuts += (start, start + size)
        at = start + size
    return cuts


def _item_cuts(body: bytes, start: int, value: msgspec.Raw) -> list[int]:
    at = last = start + 1
    cuts = [at]
    for item in _ITEMS.decode(value):
        view = memoryview(item)
        at = body.find(view[:_BEGINNING_BYTES], at) + view.nbytes
        if at - last >= _PIECE_BYTES:
            cuts.append(at)
            last = at
    return cuts


def _cuts_of_torn(body: bytes) -> list[int]:
    """Cut where messages seem to begin: a request that was cut short is no JSON."""
    cuts: list[int] = []
    for opening in _OPENINGS:
        at = body.find(opening)
        while at > 0:
            if body[at - 1] in b"[, ":
                cuts.append(at)
            at = body.find(opening, at + len(opening))
    return sorted(cuts)
