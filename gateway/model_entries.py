"""Entries of model lists, in OpenAI's shape and in Anthropic's."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_ID_CHARS = 512  # a longer `model` is refused in requests
OWNER = "driftgate"

_EPOCH = "1970-01-01T00:00:00Z"
_LAST_S = 253_402_300_799  # 9999-12-31, the last that RFC 3339 can write

Fields = dict[str, msgspec.Raw]


class _Page(msgspec.Struct):
    """What both protocols have in common; llama-server adds `models`, Anthropic its cursors."""

    data: list[Fields]


_page = msgspec.json.Decoder(_Page).decode


class Entry:
    """One name, with everything its upstream says of it, byte for byte."""

    __slots__ = ("_fields", "id")

    def __init__(self, model_id: str, fields: Fields) -> None:
        self.id = model_id
        self._fields = fields

    def shown(self, *, anthropic: bool) -> Mapping[str, Any]:
        """Return the entry in a protocol's shape; a shape's own fields are never missing."""
        return self._anthropic() if anthropic else self._openai()

    def _openai(self) -> Mapping[str, Any]:
        defaults = {"object": "model", "created": self._created(), "owned_by": OWNER}
        return {"id": self.id, **defaults, **self._given("id", "type")}

    def _anthropic(self) -> Mapping[str, Any]:
        created_at = datetime.fromtimestamp(self._created(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        defaults = {"display_name": self.id, "created_at": created_at}
        given = self._given("id", "type", "object", "created")
        return {"type": "model", "id": self.id, **defaults, **given}

    def _given(self, *without: str) -> Fields:
        return {name: value for name, value in self._fields.items() if name not in without}

    def _created(self) -> int:
        """Return seconds since the epoch, from either protocol's field; 0 is unknown."""
        created = _value(self._fields.get("created"))
        if isinstance(created, (int, float)) and not isinstance(created, bool):
            return int(created) if 0 <= created <= _LAST_S else 0
        try:
            at = datetime.fromisoformat(str(_value(self._fields.get("created_at")) or _EPOCH))
        except ValueError:
            return 0
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max(0, int(at.timestamp()))


def own_entry(name: str, created_s: int) -> Entry:
    """Return the entry of a route, or of an upstream's configured model."""
    return Entry(name, {"created": msgspec.Raw(b"%d" % created_s)})


def entries_of(body: bytes) -> list[Entry] | None:
    """Return what an upstream's answer lists; None when it is no list of models.

    Entries whose `id` no request could use are left out.
    """
    try:
        # What is passed on as it came must be text, also where it is not looked at.
        page = _page(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    entries = []
    for fields in page.data:
        model_id = _value(fields.get("id"))
        if isinstance(model_id, str) and 0 < len(model_id) <= MAX_ID_CHARS:
            entries.append(Entry(model_id, fields))
    return entries


def page_of(entries: Mapping[str, Entry], *, anthropic: bool) -> Mapping[str, Any]:
    """Return a whole list in a protocol's shape."""
    data = [entry.shown(anthropic=anthropic) for entry in entries.values()]
    if not anthropic:
        return {"object": "list", "data": data}
    names = list(entries)
    return {
        "data": data,
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _value(raw: msgspec.Raw | None) -> Any:
    """Return a field's value; None when it is absent or cannot be read."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
