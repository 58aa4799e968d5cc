import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.protocols.soundness import MAX_BRACKETS, MAX_DEPTH, MAX_DIGITS, check

keys = st.sampled_from(["model", "stream", "messages", "a", 'x"model"', "\\", "é", "{["])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8) | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(keys, values), st.booleans(), st.sampled_from([None, 1]))
def test_bodies_with_every_key_once_pass(
    body: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001  (drawn)
    indent: int | None,
) -> None:
    """Whatever nested objects and texts hold, a body with each key once is sound."""
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)
    check(text.encode("utf-8", "surrogatepass") if ascii_only else text.encode("utf-8", "replace"))


@pytest.mark.parametrize("name", ["model", "stream", "messages"])
@pytest.mark.parametrize(
    "body",
    [
        '{"NAME":1,"NAME":2}',
        '{"NAME":1,"NAME":1}',
        '{"NAME" : 1, "x": {"NAME": [{"y": 1}]}, "NAME"\n:2}',
        '{"x":"\\\\","NAME":1,"y":"\\"","NAME":2}',
        '{"ESCAPED":1,"NAME":2}',
        '{"NAME":1,"x":"\\\\u0000","ESCAPED":2}',
    ],
)
def test_key_at_the_top_twice_is_refused(body: str, name: str) -> None:
    """Two keys of one name are refused, also behind escapes and nested ones."""
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    with pytest.raises(InvalidRequest, match="two keys") as raised:
        check(body.replace("NAME", name).replace("ESCAPED", escaped).encode())
    assert raised.value.param == name


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","tools":[{"model":1},{"model":2}]}',
        b'{"x":{"model":1},"model":"m","y":{"model":1}}',
        b'{"model":"m","x":"\\"model\\":1, \\"model\\":2"}',
        b'{"model":"m","x":["model","model"]}',
        b'{"model":"model","x":"model"}',
        b'{"x":"}","y":{"model":1},"model":"m"}',
    ],
)
def test_names_elsewhere_are_no_second_key(body: bytes) -> None:
    """The same word in nested objects, in texts and as a value is no second key."""
    check(body)


@pytest.mark.parametrize("unit", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_bounded(unit: tuple[str, str]) -> None:
    """A body may be nested as deep as said, and no deeper."""
    step = unit[0].count("[") + unit[0].count("{")
    times = (MAX_DEPTH - 1) // step
    sound = '{"x":' + unit[0] * times + "1" + unit[1] * times + ',"y":[' + "[]," * 200 + "1]}"
    check(sound.encode())
    deep = '{"x":' + unit[0] * (times + 2) + "1" + unit[1] * (times + 2) + "}"
    with pytest.raises(InvalidRequest, match="deeper"):
        check(deep.encode())


def test_brackets_in_texts_are_not_deep() -> None:
    """Brackets within strings are text."""
    check(json.dumps({"x": "[{" * 500, "y": '\\"[' * 500}).encode())


def test_brackets_without_end_are_refused_quickly() -> None:
    """A body of nothing but brackets is refused before it is measured."""
    body = b'{"x":[' + b"[]," * (MAX_BRACKETS + 1) + b"1]}"
    started_s = time.process_time()
    with pytest.raises(InvalidRequest, match="arrays and objects"):
        check(body)
    assert time.process_time() - started_s < 0.5


@pytest.mark.parametrize("before", range(0, 100, 7))
def test_long_numbers_are_refused(before: int) -> None:
    """A number that no reader holds is refused wherever it stands; one in a text is text."""
    pad = "x" * before
    with pytest.raises(InvalidRequest, match="digits"):
        check(f'{{"{pad}":{"9" * (MAX_DIGITS + 1)}}}'.encode())
    check(f'{{"{pad}":{"9" * MAX_DIGITS}}}'.encode())
    check(f'{{"{pad}":"{"9" * 5 * MAX_DIGITS}"}}'.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    """Bytes that are no UTF-8 are refused with their place, in fields nobody reads, too."""
    with pytest.raises(InvalidRequest, match="at byte 6"):
        check(b'{"x":"\xff"}')
