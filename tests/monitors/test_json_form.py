import json
from typing import Any

import pytest

from monitors.signals.json_form import is_valid

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"], "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 2},
        "next": {"$ref": "#"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tag": {"enum": ["a", "b", 1]}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "x"},
        {"name": "x", "age": None},
        {"name": "x", "age": 3.0},
        {"name": "x", "tags": ["a", 1]},
        {"name": "x", "next": {"name": "y", "tags": ["b"]}},
    ],
)
def test_what_the_schema_allows_is_valid(value: Any) -> None:
    """Types, ranges, lists and parts that are named elsewhere."""
    assert is_valid(json.dumps(value), PERSON)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"name": 5},
        {"name": "x", "age": 3.5},
        {"name": "x", "age": True},
        {"name": "x", "age": 151},
        {"name": "x", "age": -1},
        {"name": "x", "tags": []},
        {"name": "x", "tags": ["a", "a", "a"]},
        {"name": "x", "tags": ["c"]},
        {"name": "x", "tags": [True]},
        {"name": "x", "more": 1},
        {"name": "x", "next": {"age": 1}},
    ],
)
def test_what_the_schema_forbids_is_invalid(value: Any) -> None:
    """Any of the keywords that are looked at."""
    assert not is_valid(json.dumps(value), PERSON)


@pytest.mark.parametrize(
    "text", ["", "{", "```json\n{}\n```", "{} {}", "NaN", "\ud800", "[" * 9000]
)
def test_text_that_is_no_json_is_invalid(text: str) -> None:
    """As a client's parser has it: a fence around JSON is no JSON."""
    assert not is_valid(text, True)


def test_schemas_of_schemas_hold() -> None:
    """One of several, all of several, and constants."""
    either = {"anyOf": [{"const": 1}, {"type": "string"}]}
    assert [is_valid(text, either) for text in ("1", '"a"', "2", "true")] == [
        True,
        True,
        False,
        False,
    ]
    both = {"allOf": [{"type": "object"}, {"required": ["a"]}], "oneOf": [True, False]}
    assert [is_valid(text, both) for text in ('{"a": 1}', "{}")] == [True, False]
    assert not is_valid("1", False)


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "object"}, "pattern": "x", "items": [{"type": "null"}]},
        {"prefixItems": [{}], "items": False, "$ref": "#anchor"},
        {"patternProperties": {"a": {}}, "additionalProperties": False},
        {"type": "whatever", "enum": 5, "required": "a", "anyOf": 7, "minimum": "a"},
        {"$ref": "#/nowhere", "allOf": None, "properties": []},
    ],
)
def test_what_is_not_looked_at_forbids_nothing(schema: dict[str, Any]) -> None:
    """Keywords that are not known, or not understood, never make an answer invalid."""
    assert is_valid('{"a": 1}', schema)
    assert is_valid("[1, 2]", schema)


def test_a_schema_that_never_ends_is_left() -> None:
    """A schema that branches into itself is looked at so often and no further."""
    endless: dict[str, Any] = {
        "anyOf": [{"$ref": "#"}, {"$ref": "#"}],
        "allOf": [{"$ref": "#"}] * 3,
    }
    assert is_valid("1", endless)
