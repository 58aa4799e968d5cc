import json

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gateway.api import data_plane_document
from gateway.openapi_document import document, document_text
from gateway.protocols.protocol import MAX_MODEL_CHARS


def test_every_reference_leads_somewhere() -> None:
    """What the document points to is in it."""
    found = document()

    def check(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "$ref":
                    _, *names = inner.split("/")
                    target: object = found
                    for name in names:
                        assert isinstance(target, dict)
                        target = target[name]
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(found)


def test_operations_have_names_of_their_own() -> None:
    """`operationId` is unique, as programs that generate clients need."""
    names = [
        operation["operationId"]
        for path in document()["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("path", "fields", "required"),
    [
        ("/v1/chat/completions", {"model", "stream", "stream_options", "messages"}, ["model"]),
        ("/v1/embeddings", {"model", "user"}, ["model"]),
        ("/v1/messages", {"model", "stream", "messages"}, ["model"]),
    ],
)
def test_a_body_is_described_as_it_is_read(
    path: str, fields: set[str], required: list[str]
) -> None:
    """The fields that the gateway reads, and that it needs, and no others' rules."""
    content = document()["paths"][path]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    assert fields <= set(schema["properties"])
    assert schema["required"] == required
    assert schema["properties"]["model"]["maxLength"] == MAX_MODEL_CHARS
    assert "additionalProperties" not in schema


def test_each_api_refuses_in_its_own_shape() -> None:
    """Anthropic's paths promise Anthropic's error, all others OpenAI's."""
    paths = document()["paths"]
    assert paths["/v1/messages"]["post"]["responses"]["4XX"]["$ref"].endswith("/AnthropicRefused")
    assert paths["/v1/completions"]["post"]["responses"]["4XX"]["$ref"].endswith("/Refused")


def test_the_control_plane_serves_the_text() -> None:
    """`/api/v1/data-plane/openapi.json` is the text that docs/ holds."""
    app = FastAPI()
    app.include_router(data_plane_document.router(), prefix="/api/v1")
    with TestClient(app) as client:
        answer = client.get("/api/v1/data-plane/openapi.json")
    assert isinstance(answer, httpx2.Response)
    assert answer.text == document_text()
    assert json.loads(answer.text)["openapi"] == "3.1.0"
