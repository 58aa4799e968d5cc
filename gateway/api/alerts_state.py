"""What the handlers of alerts and silences share."""

from typing import Any, Protocol

from fastapi import Response

from gateway.api.errors import ErrorBody
from gateway.config import Settings
from gateway.delivery import DeliveryLoop
from gateway.errors import error_body
from router.clock import Clock
from storage.repository import Repository

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "There is none of that id."}
}


class AlertsState(Protocol):
    """What these handlers work with."""

    @property
    def clock(self) -> Clock:
        """Now."""
        ...

    @property
    def repository(self) -> Repository:
        """The prediction log."""
        ...

    @property
    def delivery(self) -> DeliveryLoop:
        """The loop that sends."""
        ...

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        ...


def refusal(status_code: int, message: str, code: str) -> Response:
    """Return an error in the API's shape."""
    body = error_body(message, type_="control_plane_error", code=code)
    return Response(body, status_code=status_code, media_type="application/json")
