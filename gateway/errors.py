"""Errors of the gateway and the one table that says how a client is told.

GatewayError
├── ConfigError              the configuration is refused; names key path, value, way out
├── EmbeddingFailed          the data plane gave us no embeddings
└── RequestError             the request is refused
    ├── InvalidRequest       400
    ├── InvalidApiKey        401
    ├── NotFound             404
    ├── ModelNotFound        404
    ├── MethodNotAllowed     405
    ├── RequestTimedOut      408
    ├── RequestTooLarge      413
    ├── UnsupportedCoding    415
    ├── Overloaded           503
    └── LogUnavailable       503
"""

import msgspec

from router.errors import Reason


class GatewayError(Exception):
    """Base of this folder's errors."""


class ConfigError(GatewayError):
    """The configuration is refused whole; one line a problem."""

    def __init__(self, problems: list[str], *, source: str) -> None:
        self.problems = problems
        self.source = source
        super().__init__(f"{source} is refused:\n" + "\n".join(f"  - {line}" for line in problems))


class EmbeddingFailed(GatewayError):
    """Our own data plane gave no embeddings; the text says why.

    Attributes
    ----------
    of_texts : bool
        These texts were refused, such as one that is too long: others may be taken.
    """

    def __init__(self, message: str, *, of_texts: bool = False) -> None:
        super().__init__(message)
        self.of_texts = of_texts


class RequestError(GatewayError):
    """A request is refused before it is routed."""

    status = 400
    reason = Reason.INVALID_REQUEST
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidRequest(RequestError):
    """The body or a parameter cannot be understood."""


class InvalidApiKey(RequestError):
    """No key, or one that is not configured."""

    status = 401
    reason = Reason.INVALID_API_KEY
    type = "authentication_error"


class NotFound(RequestError):
    """No such path."""

    status = 404
    reason = Reason.NOT_FOUND


class ModelNotFound(RequestError):
    """No route answers this model name."""

    status = 404
    reason = Reason.MODEL_NOT_FOUND


class MethodNotAllowed(RequestError):
    """The path exists, not with this method.

    Parameters
    ----------
    allowed : str
        Value of the answer's `Allow`.
    """

    status = 405
    reason = Reason.METHOD_NOT_ALLOWED

    def __init__(self, message: str, *, allowed: str = "POST") -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTimedOut(RequestError):
    """Head or body did not arrive in time."""

    status = 408
    reason = Reason.REQUEST_TIMEOUT


class RequestTooLarge(RequestError):
    """The body is longer than `gateway.limits.body_bytes`."""

    status = 413
    reason = Reason.REQUEST_TOO_LARGE


class UnsupportedCoding(RequestError):
    """The body has a content coding that cannot be looked into."""

    status = 415
    reason = Reason.UNSUPPORTED_CODING


class Overloaded(RequestError):
    """A worker has as many requests as it may."""

    status = 503
    reason = Reason.OVERLOADED
    type = "server_error"


class LogUnavailable(RequestError):
    """The prediction log cannot be written and the policy is `fail_closed`."""

    status = 503
    reason = Reason.LOG_UNAVAILABLE
    type = "server_error"


def error_body(message: str, *, type_: str, code: str | None, param: str | None = None) -> bytes:
    """Return an error as OpenAI writes it: ``{"error": {message, type, param, code}}``."""
    error = {"message": message, "type": type_, "param": param, "code": code}
    return msgspec.json.encode({"error": error})
