import os
import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ids import IdSource, new_id, new_span_id, new_trace_id

LAST_US = (1 << 48) * 1000 - 1


@given(now_us=st.integers(0, LAST_US), entropy=st.binary(min_size=8, max_size=8))
def test_an_id_is_a_canonical_uuid_of_version_7_that_tells_its_time(
    now_us: int, entropy: bytes
) -> None:
    """Version, variant, milliseconds and canonical form are those of RFC 9562."""
    text = new_id(now_us, entropy)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == now_us // 1000


@given(st.lists(st.integers(0, LAST_US // 2), min_size=2, max_size=50))
def test_ids_of_one_source_increase_whatever_the_clock_does(times: list[int]) -> None:
    """The clock jumps back and forth; ids are strictly increasing as text."""
    clock = iter(times)
    source = IdSource(lambda: next(clock))
    ids = [source.new_id() for _ in times]
    assert all(before < after for before, after in pairwise(ids))


def test_ids_increase_through_the_overflow_of_a_millisecond() -> None:
    """Ten thousand ids in a clock that stands still are still in order and unique."""
    source = IdSource(lambda: 1_700_000_000_000_000)
    ids = [source.new_id() for _ in range(10_000)]
    assert sorted(set(ids)) == ids


def test_two_sources_at_one_moment_give_different_ids() -> None:
    """The random part tells processes apart."""
    sources = [IdSource(lambda: 1_000_000) for _ in range(200)]
    assert len({source.new_id() for source in sources}) == 200


@pytest.mark.parametrize("now_us", [-1, LAST_US + 1])
def test_a_time_outside_of_48_bits_is_refused(now_us: int) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=str(now_us)):
        new_id(now_us, bytes(8))


def test_entropy_of_another_length_is_refused() -> None:
    """Seven bytes are no entropy for an id, nor fifteen for a trace."""
    with pytest.raises(ValueError, match="7 bytes"):
        new_id(0, bytes(7))
    with pytest.raises(ValueError, match="15 bytes"):
        new_trace_id(bytes(15))


def test_trace_and_span_ids_are_lower_case_hex_of_w3c_length() -> None:
    """32 and 16 digits, fresh each time."""
    source = IdSource(lambda: 0, os.urandom)
    traces = {source.new_trace_id() for _ in range(1000)}
    spans = {source.new_span_id() for _ in range(1000)}
    assert len(traces) == len(spans) == 1000
    assert all(len(trace) == 32 and int(trace, 16) and trace == trace.lower() for trace in traces)
    assert all(len(span) == 16 and int(span, 16) and span == span.lower() for span in spans)


def test_zero_entropy_makes_no_invalid_trace_context() -> None:
    """All-zero ids mean "invalid", so they are never given out."""
    source = IdSource(lambda: 0, bytes)
    assert int(new_trace_id(bytes(16)), 16) == int(source.new_trace_id(), 16) == 1
    assert int(new_span_id(bytes(8)), 16) == int(source.new_span_id(), 16) == 1
