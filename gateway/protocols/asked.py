"""What a recorded request says: its text, the form that its answer must have, the tools it lends.

Form and tools are taken from whatever protocol wrote them: the places differ, their shapes hardly.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.protocols.json_text import object_of

JsonSchema = dict[str, Any] | bool

_ANY_OBJECT: JsonSchema = {"type": "object"}


class Asked(NamedTuple):
    """A request that was read.

    Attributes
    ----------
    prompt : str
        Every text of it, in order.
    form : Any
        What it says of the answer's form, in the words of its protocol: JSON or read JSON.
    tools : Any
        The tools that it lends, as `form` is given; None where it lends none.
    """

    prompt: str
    form: Any = None
    tools: Any = None

    def schema(self) -> JsonSchema | None:
        """Return the JSON Schema that the answer must follow, None where it may be anything."""
        if self.form is None:
            return None
        form = object_of(_read(self.form))
        kind = form.get("type")
        if kind == "json_object":
            return _ANY_OBJECT
        if kind != "json_schema":
            return None
        named = form.get("json_schema")
        found = object_of(named).get("schema") if named is not None else form.get("schema")
        return found if isinstance(found, dict | bool) else True

    def offered(self) -> frozenset[str]:
        """Return the names of the tools that the answer may call."""
        tools = _read(self.tools)
        return frozenset(filter(None, map(_name_of, tools if isinstance(tools, list) else ())))


class FormFields(msgspec.Struct, gc=False):
    """Where chats say what form their answer must have, with what vLLM reads beside it."""

    response_format: Raw | UnsetType = UNSET
    guided_json: Raw | UnsetType = UNSET
    structured_outputs: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET
    functions: Raw | UnsetType = UNSET

    def form(self) -> Any:
        """Return what `Asked` keeps."""
        if self.response_format is not UNSET:
            return self.response_format
        if self.guided_json is UNSET and self.structured_outputs is UNSET:
            return None
        return chat_form({name: _read(getattr(self, name)) for name in _OF_VLLM})

    def lent(self) -> Any:
        """Return what `Asked` keeps."""
        found = self.functions if self.tools is UNSET else self.tools
        return None if found is UNSET else found


_OF_VLLM = ("guided_json", "structured_outputs")


def chat_form(data: dict[str, Any]) -> Any:
    """Return what the body of a chat says of the answer's form."""
    form = data.get("response_format")
    if form is not None:
        return form
    outputs = object_of(data.get("structured_outputs"))
    schema = outputs["json"] if outputs.get("json") is not None else data.get("guided_json")
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return {"type": "json_schema", "schema": schema} if isinstance(schema, dict) else None


def _read(value: Any) -> Any:
    if value is UNSET:
        return None
    try:
        return msgspec.json.decode(value) if isinstance(value, Raw) else value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _name_of(tool: Any) -> str | None:
    found = object_of(tool)
    kind = found.get("type")
    inner = found.get(kind) if isinstance(kind, str) else None
    name = object_of(inner).get("name") or found.get("name")
    return name if isinstance(name, str) else None
