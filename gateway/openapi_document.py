"""The OpenAPI document of the data plane: the paths it understands, and how it refuses.

What an operation's request may look like is told by the table of operations, so the document
says what the gateway reads of a body and nothing of what only the model server judges.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.feedback import MAX_ROWS
from gateway.protocols.protocol import MAX_MODEL_CHARS, Operation
from gateway.protocols.table import ANTHROPIC, find_operation
from gateway.version import VERSION

_ASKED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/responses/input_tokens",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/rerank",
    "/v1/score",
    "/v1/tokenize",
    "/v1/detokenize",
    "/v1/pooling",
    "/v1/classify",
    "/rerank",
    "/v2/rerank",
    "/score",
    "/tokenize",
    "/detokenize",
    "/pooling",
    "/classify",
    "/embed",
    "/v2/embed",
    "/v1/messages",
    "/v1/messages/count_tokens",
)
"""Paths that take POST and whose operation the table knows."""

_KEPT = (
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/vector_stores",
    "/v1/fine_tuning/jobs",
    "/v1/conversations",
    "/v1/messages/batches",
)
"""Paths whose objects one upstream keeps; what lies below them goes the same way."""

_PLAIN = "application/json"
_EVENTS = "text/event-stream"
_REFUSED = {
    400: "it cannot be understood, the message says what to change",
    401: "no valid key of this gateway was shown",
    404: "no route answers the model, or there is no such path",
    405: "the path exists, not with this method",
    408: "it did not arrive in time",
    413: "the body is larger than `gateway.limits.body_bytes`",
    415: "the body's encoding cannot be read",
    429: "an upstream is full or limits its callers, `Retry-After` says when to come back",
}
_FAILED = {
    502: "no upstream gave a sound answer",
    503: "the gateway is full or no upstream is ready, `Retry-After` says when to come back",
    504: "no upstream answered in time",
}

Json = dict[str, Any]


def document() -> Json:
    """Return the document, OpenAPI 3.1."""
    paths: Json = {path: {"post": _asked(path)} for path in _ASKED}
    for path in _KEPT:
        paths[path] = {method: _passed(method, path) for method in ("get", "post")}
    paths |= _service_paths()
    methods = ("get", "post", "put", "patch", "delete")
    paths["/v1/{path}"] = {
        "parameters": [_rest()],
        **{method: _passed(method, "/v1/anything") for method in methods},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "driftgate data plane",
            "version": VERSION,
            "description": "Requests for models, answered by the upstreams that are configured.",
        },
        "servers": [{"url": "/"}],
        "security": [{}, *({name: []} for name in _security())],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": _responses(),
            "parameters": _own_parameters(),
            "headers": _own_headers(),
            "securitySchemes": _security(),
        },
    }


def document_text() -> str:
    """Return the document as the file in docs/ holds it."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def _asked(path: str) -> Json:
    operation = find_operation("POST", path)
    found: Json = {
        "operationId": "root" + path.replace("/", "_") if operation.root else operation.name,
        "tags": [operation.protocol.name],
        "summary": f"Ask for `{operation.name}`",
        "parameters": _references("parameters", _own_parameters()),
        "requestBody": {"required": True, "content": _request(operation)},
        "responses": {"200": _answer(operation), **_refusals(operation)},
    }
    return found


def _request(operation: Operation) -> Json:
    schema = _body_schema(operation)
    content: Json = {_PLAIN: {"schema": schema}}
    if operation.body == "form":
        form = {"type": "object", "properties": {"model": _model(), "file": {"type": "string"}}}
        content = {"multipart/form-data": {"schema": form}, **content}
    return content


def _body_schema(operation: Operation) -> Json:
    """Return what is read of a JSON body; whatever else stands in it is passed on."""
    fields: Json = {"model": _model()}
    if operation.events is not None:
        fields["stream"] = {"type": ["boolean", "null"]}
    if operation.usage_option:
        options = {"type": "object", "properties": {"include_usage": {"type": "boolean"}}}
        fields["stream_options"] = {"anyOf": [options, {"type": "null"}]}
    if operation.strict and operation.protocol is not ANTHROPIC:
        fields["user"] = {"type": ["string", "null"]}
        fields["safety_identifier"] = {"type": ["string", "null"]}
    if operation.name in {"chat", "messages", "count_tokens"}:
        fields["messages"] = {"type": "array", "items": {"type": "object"}}
    schema: Json = {"type": "object", "properties": fields}
    if operation.model_required:
        schema["required"] = ["model"]
    return schema


def _model() -> Json:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_MODEL_CHARS,
        "description": "A route, or any name where the route `*` is configured.",
    }


def _answer(operation: Operation) -> Json:
    content: Json = {_PLAIN: {}}
    if operation.events is not None:
        content[_EVENTS] = {}
    if not operation.strict:
        content["*/*"] = {}
    names = _own_headers()
    return {
        "description": "The upstream's answer, byte for byte.",
        "headers": dict(zip(names, _references("headers", names), strict=True)),
        "content": content,
    }


def _passed(method: str, path: str) -> Json:
    operation = find_operation(method.upper(), path)
    return {
        "operationId": f"{method}_{operation.name}",
        "tags": [operation.protocol.name],
        "summary": "Passed to an upstream as it comes, and recorded",
        "parameters": _references("parameters", _own_parameters()),
        **({} if method in {"get", "delete"} else {"requestBody": {"content": {"*/*": {}}}}),
        "responses": {
            "2XX": {"description": "The upstream's answer.", "content": {"*/*": {}}},
            **_refusals(operation),
        },
    }


def _refusals(operation: Operation | None = None) -> Json:
    shape = "Anthropic" if operation and operation.protocol is ANTHROPIC else ""
    names = {"4XX": f"{shape}Refused", "5XX": f"{shape}Failed"}
    return {key: {"$ref": f"#/components/responses/{name}"} for key, name in names.items()}


def _responses() -> Json:
    """Return what a request meets that is not answered, in the shape of either API."""
    found: Json = {}
    for shape in ("", "Anthropic"):
        content = {_PLAIN: {"schema": {"$ref": f"#/components/schemas/{shape}Error"}}}
        for name, meanings in (("Refused", _REFUSED), ("Failed", _FAILED)):
            told = "; ".join(f"{status}: {meaning}" for status, meaning in meanings.items())
            found[f"{shape}{name}"] = {"description": f"{told}.", "content": content}
    return found


def _rest() -> Json:
    return {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "Whatever else an upstream has below `/v1`, slashes included.",
        "schema": {"type": "string", "minLength": 1},
    }


def _references(kind: str, names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/components/{kind}/{name}"} for name in names]


def _own_parameters() -> Json:
    meanings = {
        "x-driftgate-user": "Whose requests stay with one variant; recorded as a digest.",
        "x-driftgate-tags": "`name=value` pairs for the record, parted by commas.",
        "x-driftgate-no-log": "`1`: the record keeps no text of this request.",
        "x-driftgate-route": "The route to take, whatever the model.",
    }
    return {
        name: {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in meanings.items()
    }


def _own_headers() -> Json:
    meanings = {
        "x-driftgate-id": "The prediction's id, for `/v1/feedback`.",
        "x-driftgate-upstream": "Who answered.",
        "x-driftgate-variant": "The variant of the route.",
        "x-driftgate-cache": "`hit`, `miss` or `bypass`.",
        "x-driftgate-attempts": "Upstream calls that were made.",
    }
    return {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in meanings.items()
    }


def _service_paths() -> Json:
    models = {"$ref": "#/components/schemas/Models"}
    feedback = {"$ref": "#/components/schemas/Feedback"}
    asked = {"oneOf": [feedback, {"type": "array", "items": feedback, "maxItems": MAX_ROWS}]}
    taken = {"type": "object", "required": ["logged"]}
    return {
        "/healthz": {"get": _service("health", "Say that the process answers", {})},
        "/readyz": {"get": _service("ready", "Say whether requests would be served", {})},
        "/v1/models": {"get": _service("models", "List routes and upstreams' models", models)},
        "/v1/feedback": {
            "post": {
                "operationId": "feedback",
                "tags": ["driftgate"],
                "summary": "Tell what became of a prediction, or of a list of them",
                "requestBody": {"required": True, "content": {_PLAIN: {"schema": asked}}},
                "responses": {
                    "202": {
                        "description": "It is in the log.",
                        "content": {_PLAIN: {"schema": taken}},
                    },
                    **_refusals(),
                },
            }
        },
    }


def _service(name: str, summary: str, schema: Json) -> Json:
    answer = {"description": "The answer.", "content": {_PLAIN: {"schema": schema}}}
    return {
        "operationId": name,
        "tags": ["driftgate"],
        "summary": summary,
        "responses": {"200": answer, **_refusals()},
    }


def _schemas() -> Json:
    text: Json = {"type": "string"}
    text_or_null: Json = {"type": ["string", "null"]}
    fields = {"message": text, "type": text, "param": text_or_null, "code": text_or_null}
    error = {"type": "object", "properties": fields, "required": list(fields)}
    told = {"type": "object", "properties": {"type": text, "message": text}}
    model = {
        "type": "object",
        "properties": {"id": text, "object": {"const": "model"}, "owned_by": text},
        "required": ["id", "object"],
    }
    score: Json = {"type": ["number", "null"]}
    label: Json = {"type": ["string", "number", "boolean", "null"]}
    given = {"id": text, "score": score, "label": label, "comment": text_or_null}
    return {
        "Error": _object({"error": error}),
        "AnthropicError": _object(
            {"type": {"const": "error"}, "error": {**told, "required": ["type", "message"]}}
        ),
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": model}}),
        "Feedback": {
            "type": "object",
            "properties": given,
            "required": ["id"],
            "additionalProperties": False,
        },
    }


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _security() -> Json:
    keys = {"x-api-key": "xApiKey", "api-key": "apiKey"}
    return {
        "bearer": {"type": "http", "scheme": "bearer"},
        **{
            name: {"type": "apiKey", "in": "header", "name": header}
            for header, name in keys.items()
        },
    }
