"""Identifiers: UUIDv7 for predictions (RFC 9562), ids of W3C Trace Context for spans."""

import os
from collections.abc import Callable

ENTROPY_BYTES = 8
"""Random bytes that one id takes."""

_POOL_BYTES = 512 * ENTROPY_BYTES
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_STAMP_LIMIT = 1 << 60


def stamp_of(now_us: int) -> int:
    """Milliseconds in the upper 48 bits, the fraction of the millisecond in the lower 12."""
    # 1 ms is 4096 stamps: 512 / 125 of them a microsecond, in one division.
    return (now_us << 9) // 125


def _format(stamp: int, digits: str) -> str:
    """Lay out a stamp and 16 random hex digits, as text: half the time of doing it in integers."""
    time = f"{stamp:015x}"
    variant = _VARIANT[digits[0]]
    return f"{time[:8]}-{time[8:12]}-7{time[12:]}-{variant}{digits[1:4]}-{digits[4:]}"


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
    return _format(stamp, entropy.hex())


def new_trace_id(entropy: bytes) -> str:
    """Return a trace id of W3C Trace Context: 16 bytes as lower-case hex, not all zero."""
    return _nonzero(_hex(entropy, 16))


def new_span_id(entropy: bytes) -> str:
    """Return a parent id of W3C Trace Context: 8 bytes as lower-case hex, not all zero."""
    return _nonzero(_hex(entropy, 8))


def _hex(entropy: bytes, size: int) -> str:
    if len(entropy) != size:
        raise ValueError(f"entropy is {len(entropy)} bytes, this id takes {size}")
    return entropy.hex()


def _nonzero(digits: str) -> str:
    # The all-zero id means "invalid" to every receiver; few begin with a zero at all.
    return digits if digits[0] != "0" or digits.strip("0") else f"{1:0{len(digits)}x}"


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
        self._pool = ""
        self._used = 0
        self._last_stamp = -1

    def new_id(self) -> str:
        """Return the next prediction id."""
        stamp = stamp_of(self._now_us())
        if stamp <= self._last_stamp:
            stamp = self._last_stamp + 1
        self._last_stamp = stamp
        return _format(stamp, self._take(2 * ENTROPY_BYTES))

    def new_trace_id(self) -> str:
        """Return a random trace id, 32 hex digits."""
        return _nonzero(self._take(32))

    def new_span_id(self) -> str:
        """Return a random span id, 16 hex digits."""
        return _nonzero(self._take(16))

    def _take(self, size: int) -> str:
        """Return random hex digits."""
        end = self._used + size
        if end > len(self._pool):
            # One system call for hundreds of ids: it costs as much as an id.
            self._pool = self._entropy(_POOL_BYTES).hex()
            end = size
        self._used = end
        return self._pool[end - size : end]
