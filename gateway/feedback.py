"""`POST /v1/feedback`: what became of predictions, joined to them by their ids, however late."""

import msgspec

from gateway.errors import InvalidRequest, MethodNotAllowed
from gateway.exchange import Exchange
from gateway.feedback_rows import FeedbackBody, FeedbackInvalid, checked, record_of, word_of
from storage.spool import Spool

PATH = "/v1/feedback"
MAX_ROWS = 1_000
"""Pieces of feedback in one request."""
MAX_BYTES = 2_097_152
"""Of a body: it is decoded between the turns of other requests."""


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As clients write it: labels of classes are often numbers or flags."""

    id: str
    score: float | None = None
    label: str | bool | int | float | None = None
    comment: str | None = None


_decode = msgspec.json.Decoder(_Said | list[_Said]).decode


async def take_feedback(exchange: Exchange, tenant: str, spool: Spool, *, now_us: int) -> None:
    """Write feedback to the log and answer 202 once it is there.

    Raises
    ------
    RequestError
        It is refused; nothing was written.
    """
    if exchange.method != "POST":
        raise MethodNotAllowed(f"`{PATH}` takes POST, not {exchange.method}.")
    found = parse_feedback(await exchange.body())
    rows = found if isinstance(found, list) else [found]
    for number, row in enumerate(rows):
        # The later of two rows of a list is the newer one.
        spool.feedback(record_of(row, tenant, now_us + number))
    logged = await spool.flushed()
    told = {"rows": len(rows)} if isinstance(found, list) else {"id": found.id}
    body = msgspec.json.encode({**told, "logged": logged})
    headers = [(b"Content-Type", b"application/json")]
    exchange.start(202 if logged else 503, headers, length=len(body))
    exchange.finish(body)


def parse_feedback(body: bytes) -> FeedbackBody | list[FeedbackBody]:
    """Check a body: a piece of feedback, or a list of them.

    Raises
    ------
    InvalidRequest
    """
    if len(body) > MAX_BYTES:
        raise InvalidRequest(
            f"The feedback has {len(body)} bytes; send at most {MAX_BYTES} at once."
        )
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The feedback is wrong: {error}") from error
    if not isinstance(found, list):
        return _checked(found)
    if not 1 <= len(found) <= MAX_ROWS:
        raise InvalidRequest(f"The list has {len(found)} rows; send 1 to {MAX_ROWS} at once.")
    return [_checked(row, f"Row {number}: ") for number, row in enumerate(found)]


def _checked(found: _Said, where: str = "") -> FeedbackBody:
    try:
        return checked(FeedbackBody(found.id, found.score, word_of(found.label), found.comment))
    except FeedbackInvalid as error:
        raise InvalidRequest(f"{where}{error}", param=error.param) from error
