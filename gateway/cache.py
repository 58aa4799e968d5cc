"""Exact response cache: the same request of the same tenant gets the same bytes again."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gateway.protocols.facts import Facts
from router.upstream import Headers

Field = tuple[bytes, bytes]

_ENTRY_OVERHEAD_BYTES = 512
_MAX_CANONICAL_BYTES = 1_048_576  # a longer body holds the event loop for too long
_TELLING = frozenset({b"accept", b"accept-language"})
_TELLING_PREFIXES = (b"openai-", b"anthropic-")


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A complete, successful answer as it went to the client."""

    status: int
    headers: Headers
    body: bytes
    upstream: str
    variant: str
    facts: Facts
    content_type: str

    @property
    def size_bytes(self) -> int:
        """Return about what it occupies."""
        return (
            len(self.body) + sum(len(k) + len(v) for k, v in self.headers) + _ENTRY_OVERHEAD_BYTES
        )


class CacheStatistics(NamedTuple):
    """A moment of the cache.

    Attributes
    ----------
    entries, size_bytes : int
        What it holds now.
    hits, misses, evicted : int
        Since the worker started; evicted counts entries dropped for room, not for age.
    """

    entries: int
    size_bytes: int
    hits: int
    misses: int
    evicted: int


def cache_key(
    tenant: str, route: str, target: bytes, body: bytes, headers: Sequence[Field] = ()
) -> bytes | None:
    """Return the key of a request: tenant, route, path, telling headers, the canonical body.

    Two bodies are the same when they are the same JSON value: white space and the order of
    keys do not count, every field does. Long ones are the same when their bytes are. Of the
    headers those count that APIs say to change the answer: versions, betas, organizations,
    projects, languages. None for a body that has no canonical form, such as one
    with numbers beyond those of JSON's peers or text that is not UTF-8: the upstream may make
    something of it, the cache does not.
    """
    canonical = body
    if len(body) <= _MAX_CANONICAL_BYTES:
        try:
            canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    fields = [(name.lower(), value) for name, value in headers]
    telling = msgspec.msgpack.encode([field for field in fields if _tells(field[0])])
    digest = hashlib.blake2b(digest_size=32)
    # Lengths keep (tenant "a", route "bc") apart from (tenant "ab", route "c").
    for part in (tenant.encode(), route.encode(), target, telling):
        digest.update(len(part).to_bytes(4, "big") + part)
    digest.update(canonical)
    return digest.digest()


def _tells(name: bytes) -> bool:
    return name in _TELLING or name.startswith(_TELLING_PREFIXES)


class ResponseCache:
    """Least recently used answers within a bound of bytes, each with its time to live."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[float, CachedAnswer]] = OrderedDict()
        self._size_bytes = 0
        self._hits = self._misses = self._evicted = 0

    def get(self, key: bytes, *, now_s: float) -> CachedAnswer | None:
        """Return a live entry, or None."""
        found = self._entries.get(key)
        if found is None:
            self._misses += 1
            return None
        expires_s, answer = found
        if expires_s <= now_s:
            self._drop(key)
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return answer

    def put(self, key: bytes, answer: CachedAnswer, *, expires_s: float) -> None:
        """Keep an answer, dropping the longest unused ones for room."""
        if answer.size_bytes > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = (expires_s, answer)
        self._size_bytes += answer.size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def clear(self) -> None:
        """Forget everything: the same request may now belong to another model."""
        self._entries.clear()
        self._size_bytes = 0

    def _drop(self, key: bytes) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._size_bytes -= found[1].size_bytes

    def statistics(self) -> CacheStatistics:
        """Return the cache's numbers."""
        return CacheStatistics(
            len(self._entries), self._size_bytes, self._hits, self._misses, self._evicted
        )
