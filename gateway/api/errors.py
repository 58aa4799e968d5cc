"""One shape for the API's errors: ``{"error": {message, type, param, code}}``."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.errors import error_body
from monitors.errors import MonitorError, NoBaseline
from storage.errors import QueryRefused

NOT_ENOUGH_DATA = "not_enough_data"
NO_BASELINE = "no_baseline"
INVALID_REQUEST = "invalid_request"
NOT_FOUND = "not_found"


class ErrorDetail(BaseModel):
    """What went wrong, and the way out."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An answer that is an error."""

    error: ErrorDetail


ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "There is no such baseline."},
    409: {"model": ErrorBody, "description": "There is not enough data."},
    422: {"model": ErrorBody, "description": "A parameter is refused."},
    429: {"model": ErrorBody, "description": "As many are at work as may be; see `Retry-After`."},
    503: {"model": ErrorBody, "description": "The prediction log cannot be read."},
}
"""Documentation of the answers that `ErrorRoute` and the application give."""

GUARDED: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorBody, "description": "`gateway.admin_key` is set, and not shown."},
    403: {"model": ErrorBody, "description": "No key is set, and a foreign page may be asking."},
}
"""Documentation of what every path may answer, before it is asked."""


class ParameterRefused(ValueError):
    """A parameter is well formed but makes no sense."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class NothingFound(Exception):
    """There is none of that id."""


class TooManyAtOnce(Exception):
    """As many are at work as may be; later there is a place again."""


class ErrorRoute(APIRoute):
    """A route whose refusals have the API's shape; errors of storage are the application's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                param = ".".join(str(part) for part in first["loc"][1:]) or "body"
                return _refusal(422, f"`{param}`: {first['msg']}", INVALID_REQUEST, param)
            except ParameterRefused as error:
                return _refusal(422, str(error), INVALID_REQUEST, error.param)
            except QueryRefused as error:
                return _refusal(422, str(error), error.code)
            except NothingFound as error:
                return _refusal(404, str(error), NOT_FOUND)
            except TooManyAtOnce as error:
                answer = _refusal(429, str(error), "too_many_at_once")
                answer.headers["retry-after"] = "1"
                return answer
            except NoBaseline as error:
                return _refusal(404, str(error), NO_BASELINE)
            except MonitorError as error:
                return _refusal(409, str(error), NOT_ENOUGH_DATA)

        return answered


def _refusal(status_code: int, message: str, code: str, param: str | None = None) -> Response:
    body = error_body(message, type_="control_plane_error", code=code, param=param)
    return Response(body, status_code=status_code, media_type="application/json")
