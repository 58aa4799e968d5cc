"""`/data-plane/openapi.json`: what the data plane answers, for programs that read OpenAPI."""

from fastapi import APIRouter, Response

from gateway.openapi_document import document_text


def router() -> APIRouter:
    """Return the route."""
    routes = APIRouter()
    body = document_text()

    @routes.get("/data-plane/openapi.json", summary="The data plane's OpenAPI document")
    async def data_plane_document() -> Response:
        return Response(body, media_type="application/json")

    return routes
