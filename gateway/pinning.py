"""Which upstream keeps which object: a response made by a candidate is asked for where it is.

A worker remembers what it has seen itself. What it has not seen goes to the route's main upstream.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from gateway.client_call import AnyTap, ClientCall

MAX_OBJECTS = 10_000
MAX_ID_CHARS = 256
_MAX_PARTS = 12  # of a path; the deepest of OpenAI's have seven


class Place(NamedTuple):
    """Where an object is kept."""

    route: str
    upstream: str


class PinStatistics(NamedTuple):
    """A moment of the memory.

    Attributes
    ----------
    objects : int
        Remembered now, of at most `MAX_OBJECTS`.
    dropped : int
        Forgotten so far to make room.
    """

    objects: int
    dropped: int


class _Kept(msgspec.Struct):
    id: Any = None


_kept = msgspec.json.Decoder(_Kept).decode


class Pins:
    """Remembers the places of objects, the least recently used one dropped.

    Tenants do not share it: an identifier is no secret, and two upstreams may use the same.
    """

    def __init__(self, max_objects: int = MAX_OBJECTS) -> None:
        self._places: OrderedDict[tuple[str, str], Place] = OrderedDict()
        self._max_objects = max_objects
        self._dropped = 0

    def note(self, tenant: str, name: str, place: Place) -> None:
        """Remember where an object is."""
        if not name or len(name) > MAX_ID_CHARS:
            return
        places = self._places
        places[tenant, name] = place
        places.move_to_end((tenant, name))
        if len(places) > self._max_objects:
            places.popitem(last=False)
            self._dropped += 1

    def find(self, tenant: str, call: ClientCall) -> Place | None:
        """Return where the first object is that a request names, None when that is not known."""
        for name in _named(call):
            place = self._places.get((tenant, name))
            if place is not None:
                self._places.move_to_end((tenant, name))
                return place
        return None

    def statistics(self) -> PinStatistics:
        """Return the numbers."""
        return PinStatistics(len(self._places), self._dropped)


def kept_id(tap: AnyTap) -> str:
    """Return the identifier of the object that an answer is, "" when it is none."""
    if not 200 <= tap.status < 300:
        return ""
    if tap.facts.object_id is not None:
        return tap.facts.object_id
    # Answers of typed operations were read already; those that pass are looked into at their end.
    if tap.operation.answer is not None or tap.truncated or "json" not in tap.content_type:
        return ""
    try:
        found = _kept(tap.text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _named(call: ClientCall) -> Iterator[str]:
    """Yield what may be an identifier in a request: of its body, then of its path."""
    if call.peek.reference:
        yield call.peek.reference
    path = call.target.partition(b"?")[0].decode("latin-1")
    yield from path.split("/", _MAX_PARTS)[2:]
