"""Identifiers: UUIDv7 for predictions (RFC 9562), ids of W3C Trace Context for spans."""

import os
from collections.abc import Callable

ENTROPY_BYTES = 8
"""Random bytes that one id takes."""

_POOL_BYTES = 512 * ENTROPY_BYTES
_RANDOM_MASK = (1 << 62) - 1
_VARIANT = 0b10 << 62
_VERSION = 0x7 << 12
_STAMP_LIMIT = 1 << 60


def stamp_of(now_us: int) -> int:
    """Milliseconds in the upper 48 bits, the fraction of the millisecond in the lower 12."""
    milliseconds, rest_us = divmod(now_us, 1000)
    return (milliseconds << 12) | (rest_us * 4096 // 1000)


def _format(stamp: int, entropy: bytes) -> str:
    high = ((stamp >> 12) << 16) | _VERSION | (stamp & 0xFFF)
    low = _VARIANT | (int.from_bytes(entropy, "big") & _RANDOM_MASK)
    digits = f"{(high << 64) | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_id(now_us: int, entropy: bytes) -> str:
    """Return a UUIDv7 in canonical form: RFC 9562, section 5.7, with method 3 of section 6.2.

    Parameters
    ----------
    now_us : int
        Microseconds since the epoch; from 0 up to the year 10889.
    entropy : bytes
        Eight random bytes; 62 bits of them are used.

    Raises
    ------
    ValueError
        Either argument is out of range.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"entropy is {len(entropy)} bytes, an id takes {ENTROPY_BYTES}")
    stamp = stamp_of(now_us)
    if not 0 <= stamp < _STAMP_LIMIT:
        raise ValueError(f"now_us is {now_us}, a UUIDv7 holds 48 bits of milliseconds from 0")
    return _format(stamp, entropy)


def new_trace_id(entropy: bytes) -> str:
    """Return a trace id of W3C Trace Context: 16 bytes as lower-case hex, not all zero."""
    return _nonzero_hex(entropy, 16)


def new_span_id(entropy: bytes) -> str:
    """Return a parent id of W3C Trace Context: 8 bytes as lower-case hex, not all zero."""
    return _nonzero_hex(entropy, 8)


def _nonzero_hex(entropy: bytes, size: int) -> str:
    if len(entropy) != size:
        raise ValueError(f"entropy is {len(entropy)} bytes, this id takes {size}")
    # The all-zero id means "invalid" to every receiver.
    return entropy.hex() if any(entropy) else f"{1:0{2 * size}x}"


class IdSource:
    """Mints the ids of one process; make one after each fork, as it holds random bytes in stock.

    Prediction ids are strictly increasing, also as text, whatever the clock does: while it stands
    still or goes back, the stamp counts up from the last id by 1/4096 ms.

    Parameters
    ----------
    now_us : callable
        `Clock.now_us`.
    entropy : callable
        Takes a number of bytes, returns as many random ones.
    """

    def __init__(
        self, now_us: Callable[[], int], entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now_us = now_us
        self._entropy = entropy
        self._pool = b""
        self._used = 0
        self._last_stamp = -1

    def new_id(self) -> str:
        """Return the next prediction id."""
        stamp = stamp_of(self._now_us())
        if stamp <= self._last_stamp:
            stamp = self._last_stamp + 1
        self._last_stamp = stamp
        return _format(stamp, self._take(ENTROPY_BYTES))

    def new_trace_id(self) -> str:
        """Return a random trace id, 32 hex digits."""
        return new_trace_id(self._take(16))

    def new_span_id(self) -> str:
        """Return a random span id, 16 hex digits."""
        return new_span_id(self._take(8))

    def _take(self, size: int) -> bytes:
        end = self._used + size
        if end > len(self._pool):
            # One system call for hundreds of ids: it costs as much as an id.
            self._pool = self._entropy(_POOL_BYTES)
            end = size
        self._used = end
        return self._pool[end - size : end]
