"""Form fields of a multipart body (RFC 7578), found without touching a byte of it."""

import re
from typing import NamedTuple

_BOUNDARY = re.compile(
    rb"""[;\s]boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70})(?![^\s;"]))""", re.IGNORECASE
)
_DISPOSITION = re.compile(rb"content-disposition:([^\r\n]*)", re.IGNORECASE)
_NAME = re.compile(rb"""[;\s]name=(?:"([^"]*)"|([^\s;"]+))""", re.IGNORECASE)
_FILE = re.compile(rb"content-disposition:[^\r\n]*?;\s*filename\*?=", re.IGNORECASE)
_MAX_PARTS = 200
_MAX_HEAD = 4_096


class Field(NamedTuple):
    """A field's value and where it stands in the body.

    Attributes
    ----------
    start, end : int
        Offsets of the value.
    """

    name: bytes
    value: bytes
    start: int
    end: int


class Fields(NamedTuple):
    """What was found so far.

    Attributes
    ----------
    fields : list of Field
        Plain fields, in order; files are left out.
    ended : bool
        The closing boundary was reached, or what follows is no multipart body.
    """

    fields: list[Field]
    ended: bool


def boundary_of(content_type: bytes) -> bytes | None:
    """Return the boundary of a `multipart/form-data` type, None for any other type."""
    if not content_type.strip().lower().startswith(b"multipart/form-data"):
        return None
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2]) if match is not None else None


def read_fields(body: bytes, boundary: bytes) -> Fields:
    """Return the fields of a body, or of as much of it as has arrived."""
    mark = b"--" + boundary
    fields: list[Field] = []
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if at == 1:
        return Fields(fields, ended=False)
    for _ in range(_MAX_PARTS):
        at += len(mark)
        if body.startswith(b"--", at):
            return Fields(fields, ended=True)
        head_end = body.find(b"\r\n\r\n", at)
        if head_end < 0 or head_end - at > _MAX_HEAD:
            return Fields(fields, ended=len(body) - at > _MAX_HEAD)
        end = body.find(b"\r\n" + mark, head_end + 2)
        if end < 0:
            return Fields(fields, ended=False)
        _take(body, fields, (at, head_end, end))
        at = end + 2
    return Fields(fields, ended=True)


def _take(body: bytes, fields: list[Field], place: tuple[int, int, int]) -> None:
    at, head_end, end = place
    head = body[at:head_end]
    disposition = _DISPOSITION.search(head)
    names = _NAME.findall(disposition[1]) if disposition is not None else []
    # A part named twice is another one to every reader.
    if len(names) == 1 and _FILE.search(head) is None:
        start = min(head_end + 4, end)
        fields.append(Field(names[0][0] or names[0][1], body[start:end], start, end))
