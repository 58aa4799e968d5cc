import gzip
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.coding import MAX_MEMBERS, Inflater, TooLargeError, coding_of, inflate


def raw_deflate(data: bytes) -> bytes:
    """Return data as servers write it who take deflate by its name."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "members": (b"gzip", lambda data: gzip.compress(data[:3]) + gzip.compress(data[3:])),
    "zlib": (b"deflate", zlib.compress),
    "raw": (b"deflate", raw_deflate),
}


@given(st.binary(max_size=400), st.sampled_from(sorted(CODERS)), st.lists(st.integers(0, 500)))
def test_pieces_give_the_whole(data: bytes, name: str, cuts: list[int]) -> None:
    """However a coded body is cut, it inflates to what was coded."""
    coding, code = CODERS[name]
    coded = code(data)
    at = sorted({min(cut, len(coded)) for cut in cuts} | {0, len(coded)})
    inflater = Inflater(coding, 1000)
    assert b"".join(inflater.feed(coded[a:b]) for a, b in itertools.pairwise(at)) == data


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_bombs_stop_at_the_bound(coding: bytes) -> None:
    """What would inflate beyond the bound is refused; what reaches it passes."""
    pack = gzip.compress if coding == b"gzip" else zlib.compress
    assert len(inflate(pack(b"\0" * 1000), coding, 1000)) == 1000
    with pytest.raises(TooLargeError):
        inflate(pack(b"\0" * 1001), coding, 1000)
    with pytest.raises(TooLargeError):
        inflate(pack(b"\0" * 50_000_000), coding, 1000)


def test_members_are_counted() -> None:
    """Each member costs a decompressor, and all but nothing to send: there may be so many."""
    member = gzip.compress(b"a")
    assert inflate(member * MAX_MEMBERS, b"gzip", MAX_MEMBERS) == b"a" * MAX_MEMBERS
    with pytest.raises(zlib.error, match="members"):
        inflate(gzip.compress(b"") * 1_000_000, b"gzip", MAX_MEMBERS)


@pytest.mark.parametrize("data", [b"nothing of the kind", b"\x1f\x8b\x08broken"])
def test_what_is_not_coded_is_told(data: bytes) -> None:
    """Bytes of another kind raise."""
    with pytest.raises(zlib.error):
        inflate(data, b"gzip", 1000)


@pytest.mark.parametrize(
    ("value", "coding"),
    [(None, b""), (b"", b""), (b"identity", b""), (b" GZip ", b"gzip"), (b"br", b"br")],
)
def test_coding_is_read(value: bytes | None, coding: bytes) -> None:
    """Names are compared without case; `identity` is none."""
    assert coding_of(value) == coding
