"""Content codings (RFC 9110 §8.4): a bounded look into bodies that pass as they are."""

import zlib

READABLE = frozenset({b"gzip", b"x-gzip", b"deflate"})
MAX_MEMBERS = 1_000
"""Of a gzip body. Each takes a decompressor of its own, and an empty one is but 20 bytes long."""

_PIECE_BYTES = 65_536  # what is left behind a member is copied, so little may be left


class TooLargeError(ValueError):
    """Inflated, a body is larger than it may be."""


def coding_of(value: bytes | None) -> bytes:
    """Return a body's content coding in lower case, b"" for none."""
    if not value:
        return b""
    coding = value.strip().lower()
    return b"" if coding == b"identity" else coding


class Inflater:
    """Inflates a body piece by piece, up to a bound.

    Parameters
    ----------
    coding : bytes
        One of `READABLE`.
    max_bytes : int
        Of the inflated body, at most.

    Attributes
    ----------
    complete : bool
        What was fed so far is a whole body.
    """

    __slots__ = ("_coding", "_left", "_members", "_state", "complete")

    def __init__(self, coding: bytes, max_bytes: int) -> None:
        self._coding = coding
        self._left = max_bytes
        self._members = 0
        self._state: zlib._Decompress | None = None
        self.complete = False

    def feed(self, chunk: bytes) -> bytes:
        """Return what a piece inflates to.

        Raises
        ------
        TooLargeError
        zlib.error
            It is not of the coding, or cut into more than `MAX_MEMBERS`.
        """
        if len(chunk) <= _PIECE_BYTES:
            return self._feed(chunk)
        cuts = range(0, len(chunk), _PIECE_BYTES)
        return b"".join([self._feed(chunk[at : at + _PIECE_BYTES]) for at in cuts])

    def _feed(self, chunk: bytes) -> bytes:
        if self.complete and self._state is not None:
            return b""  # Deflate has ended, and zlib would gather all that follows.
        pieces: list[bytes] = []
        while chunk:
            if self._state is None:
                self._state = self._next_member(chunk)
            piece = self._state.decompress(chunk, self._left + 1)
            self._left -= len(piece)
            if self._left < 0:
                raise TooLargeError("the body inflates to more than is allowed")
            pieces.append(piece)
            # A gzip body may have several members (RFC 1952 §2.2).
            chunk = self._state.unused_data
            self.complete = self._state.eof
            if not self._state.eof:
                break
            if self._coding == b"deflate":
                break
            self._state = None
        return b"".join(pieces)

    def _next_member(self, chunk: bytes) -> "zlib._Decompress":
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise zlib.error(f"the body has more than {MAX_MEMBERS} members")
        return zlib.decompressobj(self._window(chunk))

    def _window(self, chunk: bytes) -> int:
        if self._coding != b"deflate":
            return zlib.MAX_WBITS | 16
        # Some send raw deflate where the specification means zlib's format (RFC 9110 §8.4.1.2).
        return zlib.MAX_WBITS if chunk[0] & 0x0F == 8 else -zlib.MAX_WBITS


def inflate(body: bytes, coding: bytes, max_bytes: int) -> bytes:
    """Return a whole body inflated; raises as `Inflater.feed`, also for a part of a body."""
    inflater = Inflater(coding, max_bytes)
    text = inflater.feed(body)
    if not inflater.complete:
        raise zlib.error("the body ends within its coding")
    return text
