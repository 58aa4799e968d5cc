"""What the client is told when no attempt succeeded; never a 500."""

from collections.abc import Sequence

from router.errors import Reason, RouteExhausted, UpstreamFault
from router.outcome import AttemptResult

_STATUS = {
    Reason.UPSTREAM_UNREACHABLE: 502,
    Reason.UPSTREAM_INVALID: 502,
    Reason.UPSTREAM_AUTH: 502,
    Reason.UPSTREAM_TIMEOUT: 504,
    Reason.UPSTREAM_LIMITED: 429,
    Reason.UPSTREAM_BUSY: 429,
    Reason.NO_UPSTREAM: 503,
    Reason.NOT_FOUND: 404,
}
# Clients know three ways to fail; the attempts in the record keep the exact one.
_TOLD = {Reason.STREAM_TIMEOUT: Reason.UPSTREAM_TIMEOUT}
_ASKING_FOR_LESS = frozenset({Reason.UPSTREAM_LIMITED, Reason.UPSTREAM_BUSY})
_DEFAULT_RETRY_AFTER_S = 1.0


def exhausted(
    route: str,
    faults: Sequence[UpstreamFault],
    attempts: Sequence[AttemptResult],
    *,
    reopens_in_s: float | None = None,
    budget_spent: bool = False,
    unsuited: bool = False,
) -> RouteExhausted:
    """Return the error that sums up a request's faults.

    Parameters
    ----------
    route : str
    faults : sequence of UpstreamFault
        One for each attempt; none when nothing could be tried.
    attempts : sequence of AttemptResult
    reopens_in_s : float, optional
        When the first breaker lets a request through again.
    budget_spent : bool
        See `RouteExhausted`.
    unsuited : bool
        No upstream of the route speaks what was asked.
    """
    reason = Reason.NOT_FOUND if unsuited else _reason(faults)
    retry_after_s = None
    if reason is Reason.NO_UPSTREAM:
        retry_after_s = max(_DEFAULT_RETRY_AFTER_S, reopens_in_s or 0.0)
    elif reason in _ASKING_FOR_LESS:
        asked = [fault.retry_after_s for fault in faults if fault.retry_after_s is not None]
        retry_after_s = min(asked, default=_DEFAULT_RETRY_AFTER_S)
    return RouteExhausted(
        _message(route, reason, faults),
        reason=reason,
        status=_STATUS[reason],
        attempts=attempts,
        retry_after_s=retry_after_s,
        budget_spent=budget_spent,
    )


def _reason(faults: Sequence[UpstreamFault]) -> Reason:
    if not faults:
        return Reason.NO_UPSTREAM
    telling = [fault.reason for fault in faults if fault.reason not in _ASKING_FOR_LESS]
    if not telling:
        limited = any(fault.reason is Reason.UPSTREAM_LIMITED for fault in faults)
        return Reason.UPSTREAM_LIMITED if limited else Reason.UPSTREAM_BUSY
    reason = _TOLD.get(telling[-1], telling[-1])
    return reason if reason in _STATUS else Reason.UPSTREAM_INVALID


def _message(route: str, reason: Reason, faults: Sequence[UpstreamFault]) -> str:
    if reason is Reason.NOT_FOUND:
        return f"No upstream of route `{route}` speaks what this path asks for."
    if reason is Reason.NO_UPSTREAM:
        return f"No upstream of route `{route}` is available now; try again later."
    return f"Route `{route}` has no upstream left to try; the last attempt failed: {faults[-1]}."
