import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache import CachedAnswer, ResponseCache, cache_key
from gateway.protocols.facts import Facts

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def key(body: bytes, tenant: str = "t", route: str = "r", target: bytes = b"/x") -> bytes:
    """Return the key of a request that has one."""
    found = cache_key(tenant, route, target, body)
    assert found is not None
    return found


def answer(body: bytes = b"body") -> CachedAnswer:
    """Return an answer to keep."""
    return CachedAnswer(200, [(b"a", b"b")], body, "u", "v", Facts(), "application/json")


def shuffled(value: Any) -> Any:
    """Return a value with the keys of all its objects in the opposite order."""
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    return [shuffled(v) for v in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), values), st.sampled_from([None, 0, 3]))
def test_order_and_white_space_do_not_count(body: dict[str, Any], indent: int | None) -> None:
    """The same JSON value has the same key, however it is written."""
    other = json.dumps(shuffled(body), indent=indent, ensure_ascii=False)
    assert key(json.dumps(body).encode()) == key(other.encode())


@given(values, values)
def test_different_values_have_different_keys(one: object, other: object) -> None:
    """Two requests share a key only if they are the same JSON value."""
    a, b = json.dumps(one, sort_keys=True), json.dumps(other, sort_keys=True)
    assert (key(a.encode()) == key(b.encode())) == (a == b)


def test_integer_and_float_are_two_requests() -> None:
    """1 and 1.0 have keys of their own: a miss too many is better than an answer too many."""
    assert key(b'{"n":1}') != key(b'{"n":1.0}')


def test_order_of_a_list_counts() -> None:
    """Messages in another order are another conversation."""
    assert key(b'{"m":[1,2]}') != key(b'{"m":[2,1]}')


def test_last_of_two_equal_keys_counts() -> None:
    """Of a key written twice the last counts, as it does for the peek and most servers."""
    assert key(b'{"a":1,"a":2}') == key(b'{"a":2}')


@pytest.mark.parametrize(
    "other", [{"tenant": "other"}, {"route": "other"}, {"target": b"/x?y"}], ids=str
)
def test_tenant_route_and_path_are_apart(other: dict[str, Any]) -> None:
    """The same body of another tenant, route or path is another entry."""
    assert key(b"{}") != key(b"{}", **other)


@pytest.mark.parametrize(
    "field",
    [
        (b"Anthropic-Version", b"2023-06-01"),
        (b"anthropic-beta", b"context-1m"),
        (b"OpenAI-Organization", b"org-1"),
        (b"OpenAI-Project", b"p"),
        (b"Accept-Language", b"de"),
    ],
    ids=lambda field: field[0].decode(),
)
def test_headers_that_change_the_answer_are_apart(field: tuple[bytes, bytes]) -> None:
    """What versions, betas, organizations and languages answer is not anyone else's answer."""
    plain = cache_key("t", "r", b"/x", b"{}", [(b"User-Agent", b"a")])
    told = cache_key("t", "r", b"/x", b"{}", [(b"User-Agent", b"b"), field])
    other = cache_key("t", "r", b"/x", b"{}", [(field[0].upper(), field[1])])
    assert plain == key(b"{}")
    assert told != plain
    assert told == other


def test_long_bodies_are_compared_byte_for_byte() -> None:
    """What takes long to read is the same request only when it is written in the same way."""
    long = b"x" * 1_100_000
    plain, spaced = b'{"a":"' + long + b'"}', b'{"a": "' + long + b'"}'
    assert key(plain) == key(bytes(bytearray(plain)))
    assert key(plain) != key(spaced)


def test_parts_cannot_run_into_each_other() -> None:
    """What is the tenant's end and the route's start is not left open."""
    assert key(b"{}", tenant="a", route="bc") != key(b"{}", tenant="ab", route="c")


@pytest.mark.parametrize(
    "body", [b'{"n":' + b"1" * 5000 + b"}", b'{"n":1e999}', b'{"a":"\xff"}', b'{"\xff":1}']
)
def test_body_without_canonical_form_has_no_key(body: bytes) -> None:
    """What only the upstream can judge is not cached, and is no error of the gateway's."""
    assert cache_key("t", "r", b"/x", body) is None


def test_entry_lives_for_its_time() -> None:
    """An entry is found until its time is over, and then gone for good."""
    cache = ResponseCache(10_000)
    cache.put(b"k", answer(), expires_s=10.0)
    assert cache.get(b"k", now_s=9.99) is not None
    assert cache.get(b"k", now_s=10.0) is None
    assert cache.statistics()[:2] == (0, 0)


def test_longest_unused_goes_first() -> None:
    """For room, the entry goes that was used longest ago, not the oldest one."""
    cache = ResponseCache(3 * answer().size_bytes)
    for name in (b"a", b"b", b"c"):
        cache.put(name, answer(), expires_s=99)
    cache.get(b"a", now_s=0)
    cache.put(b"d", answer(), expires_s=99)
    found = [cache.get(name, now_s=0) is not None for name in (b"a", b"b", b"c", b"d")]
    assert found == [True, False, True, True]
    assert cache.statistics().evicted == 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000)), max_size=40),
    st.integers(0, 8000),
)
def test_size_never_passes_the_bound(puts: list[tuple[int, int]], bound: int) -> None:
    """Whatever is put, the bytes held are within the bound and are those of the entries."""
    cache = ResponseCache(bound)
    for name, size in puts:
        cache.put(b"%d" % name, answer(b"x" * size), expires_s=99)
        statistics = cache.statistics()
        assert statistics.size_bytes <= bound
    found = [cache.get(b"%d" % name, now_s=0) for name in range(6)]
    held = [one.size_bytes for one in found if one is not None]
    assert (len(held), sum(held)) == cache.statistics()[:2]


def test_entry_is_replaced_not_added() -> None:
    """A key put twice holds the newer answer and is counted once."""
    cache = ResponseCache(10_000)
    cache.put(b"k", answer(b"old"), expires_s=99)
    cache.put(b"k", answer(b"new"), expires_s=99)
    found = cache.get(b"k", now_s=0)
    assert found is not None
    assert found.body == b"new"
    assert cache.statistics()[:2] == (1, found.size_bytes)


def test_answer_larger_than_the_cache_is_left_out() -> None:
    """One huge answer does not empty the cache."""
    cache = ResponseCache(2000)
    cache.put(b"k", answer(), expires_s=99)
    cache.put(b"huge", answer(b"x" * 3000), expires_s=99)
    assert cache.get(b"k", now_s=0) is not None


def test_statistics_count_hits_and_misses() -> None:
    """Hits, misses and expired entries are counted."""
    cache = ResponseCache(10_000)
    cache.get(b"k", now_s=0)
    cache.put(b"k", answer(), expires_s=1)
    cache.get(b"k", now_s=0)
    cache.get(b"k", now_s=2)
    assert (cache.statistics().hits, cache.statistics().misses) == (1, 2)
