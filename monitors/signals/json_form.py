"""Whether an answer is the JSON that was asked for.

Of JSON Schema (2020-12) this looks at `type`, `enum`, `const`, `properties`, `required`,
`additionalProperties`, `items`, `minItems`, `maxItems`, `minimum`, `maximum`, `anyOf`, `oneOf` (as
`anyOf`), `allOf` and `$ref` within the schema: what structured outputs of providers know. Other
keywords hold for whatever value, so that a valid answer never counts as invalid.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Schema = dict[str, Any] | bool

_LOOKS = 5_000
"""Values and schemas that are compared of one answer; what is beyond them holds."""
_DEPTH = 64
_OF_OTHERS = frozenset({"anyOf", "oneOf", "allOf", "$ref"})


def is_valid(answer: str, schema: Schema) -> bool:
    """Return whether a text is JSON that a schema allows; `True` allows any JSON."""
    try:
        value = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return _Check(schema).holds(value, schema, 0)


class _Check:
    """One answer beside one schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = _LOOKS

    def holds(self, value: Any, schema: Any, depth: int) -> bool:
        """Say whether a schema, or a part of it, allows a value."""
        if not isinstance(schema, dict):
            return schema is not False
        self._left -= 1
        if self._left < 0 or depth > _DEPTH:
            return True
        for name, wanted in schema.items():
            test = _ALONE.get(name)
            if test is not None and not test(value, wanted):
                return False
        if not (_OF_OTHERS.isdisjoint(schema) or self._others_hold(value, schema, depth + 1)):
            return False
        if isinstance(value, dict):
            return self._object_holds(value, schema, depth + 1)
        # Where the first items have schemas of their own, `items` is about the others.
        if isinstance(value, list) and "items" in schema and "prefixItems" not in schema:
            items = schema["items"]
            return all(self.holds(item, items, depth + 1) for item in value)
        return True

    def _others_hold(self, value: Any, schema: dict[str, Any], depth: int) -> bool:
        """Say whether the schemas that a schema is made of allow a value."""
        for among in (schema.get("anyOf"), schema.get("oneOf")):
            if isinstance(among, list) and not any(self.holds(value, one, depth) for one in among):
                return False
        every = schema.get("allOf")
        parts = list(every) if isinstance(every, list) else []
        if "$ref" in schema:
            parts.append(self._part(schema["$ref"]))
        return all(self.holds(value, one, depth) for one in parts)

    def _object_holds(self, value: dict[str, Any], schema: dict[str, Any], depth: int) -> bool:
        required = schema.get("required")
        if isinstance(required, list) and not all(_is_in(name, value) for name in required):
            return False
        known = schema.get("properties")
        properties = known if isinstance(known, dict) else {}
        # Names that a pattern allows are not looked at.
        others = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        return all(
            self.holds(item, properties.get(name, others), depth) for name, item in value.items()
        )

    def _part(self, reference: Any) -> Any:
        """Return what `#/a/b` points at (RFC 6901); anything holds what points elsewhere."""
        if reference != "#" and not str(reference).startswith("#/"):
            return True
        found: Any = self._root
        for key in str(reference).split("/")[1:]:
            name = key.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                return True
            found = found[name]
        return found


def _is_in(name: Any, value: dict[str, Any]) -> bool:
    return not isinstance(name, str) or name in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_whole,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _has_type(value: Any, wanted: Any) -> bool:
    names = wanted if isinstance(wanted, list) else [wanted]
    tests = [_TYPES.get(name) if isinstance(name, str) else None for name in names]
    return any(test is None or test(value) for test in tests)


def _is_among(value: Any, wanted: Any) -> bool:
    return not isinstance(wanted, list) or any(_is_same(value, one) for one in wanted)


def _is_same(value: Any, wanted: Any) -> bool:
    # 1 and true are equal in Python, and two things in JSON.
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _at_least(value: Any, wanted: Any) -> bool:
    return not (_is_number(value) and _is_number(wanted)) or bool(value >= wanted)


def _at_most(value: Any, wanted: Any) -> bool:
    return not (_is_number(value) and _is_number(wanted)) or bool(value <= wanted)


def _has_items(value: Any, wanted: Any) -> bool:
    return not isinstance(value, list) or _at_least(len(value), wanted)


def _has_no_more_items(value: Any, wanted: Any) -> bool:
    return not isinstance(value, list) or _at_most(len(value), wanted)


_ALONE: Mapping[str, Callable[[Any, Any], bool]] = {
    "type": _has_type,
    "enum": _is_among,
    "const": _is_same,
    "minimum": _at_least,
    "maximum": _at_most,
    "minItems": _has_items,
    "maxItems": _has_no_more_items,
}
"""Keywords that look at a value and at nothing else of the schema."""
