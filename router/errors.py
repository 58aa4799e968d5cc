"""What can go wrong between the gateway and an upstream.

    RouterError
    ├── UpstreamFault        one attempt failed; `reason` says how
    └── RouteExhausted       every attempt allowed failed; `reason` says how the client is told

`Reason` is the closed list of words: one word is at once JSON `error.code`, metric label,
OTel `error.type` and the column `reason` of `predictions` and `attempts`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.outcome import AttemptResult


class Reason(StrEnum):
    """Why a request, or one attempt of it, did not succeed."""

    # of upstreams
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_LIMITED = "upstream_limited"
    UPSTREAM_AUTH = "upstream_auth"
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_BUSY = "upstream_busy"
    NO_UPSTREAM = "no_upstream"
    STREAM_INTERRUPTED = "stream_interrupted"
    STREAM_TIMEOUT = "stream_timeout"
    # of clients
    CLIENT_CLOSED = "client_closed"
    INVALID_REQUEST = "invalid_request"
    INVALID_API_KEY = "invalid_api_key"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_CODING = "unsupported_coding"
    # of this gateway
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    LOG_UNAVAILABLE = "log_unavailable"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class RouterError(Exception):
    """Base of this folder's errors."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class UpstreamFault(RouterError):
    """One attempt failed.

    Parameters
    ----------
    status : int, optional
        HTTP status of the upstream's answer, if one came.
    sent : bool
        True once any byte of the request may have reached the upstream.
    connect_phase : bool
        True for DNS, TCP and TLS failures: repeating at the same upstream is harmless.
    retry_after_s : float, optional
        What the upstream asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        status: int | None = None,
        sent: bool = True,
        connect_phase: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason)
        self.status = status
        self.sent = sent
        self.connect_phase = connect_phase
        self.retry_after_s = retry_after_s


class RouteExhausted(RouterError):
    """Every attempt allowed failed; `status` is what the client is told.

    Parameters
    ----------
    attempts : sequence of AttemptResult
    retry_after_s : float, optional
        When it is worth trying again.
    budget_spent : bool
        Another attempt was possible, but the retry budget had no permit left.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        status: int,
        attempts: Sequence["AttemptResult"],
        retry_after_s: float | None = None,
        budget_spent: bool = False,
    ) -> None:
        super().__init__(message, reason=reason)
        self.status = status
        self.attempts = tuple(attempts)
        self.retry_after_s = retry_after_s
        self.budget_spent = budget_spent
