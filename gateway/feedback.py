"""`POST /v1/feedback`: what became of a prediction, joined to it by its id, however late."""

import re

import msgspec

from gateway.errors import InvalidRequest, MethodNotAllowed
from gateway.exchange import Exchange
from storage.records import Feedback
from storage.spool import Spool

PATH = "/v1/feedback"
MAX_LABEL_CHARS = 256
MAX_COMMENT_CHARS = 4096
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class FeedbackBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body: the prediction's id, and at least one of score, label and comment."""

    id: str
    score: float | None = None
    label: str | None = None
    comment: str | None = None


_decode = msgspec.json.Decoder(FeedbackBody).decode


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
    spool.feedback(
        Feedback(
            prediction_id=found.id,
            given_at=now_us,
            tenant=tenant,
            score=found.score,
            label=found.label,
            comment=found.comment,
        )
    )
    logged = await spool.flushed()
    body = msgspec.json.encode({"id": found.id, "logged": logged})
    headers = [(b"Content-Type", b"application/json")]
    exchange.start(202 if logged else 503, headers, length=len(body))
    exchange.finish(body)


def parse_feedback(body: bytes) -> FeedbackBody:
    """Check a body.

    Raises
    ------
    InvalidRequest
    """
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The feedback is wrong: {error}") from error
    if _ID.fullmatch(found.id) is None:
        raise InvalidRequest(
            f"`id` is `{found.id[:64]}`; it must be the `x-driftgate-id` of an answer", param="id"
        )
    if found.score is None and found.label is None and found.comment is None:
        raise InvalidRequest("Feedback needs at least one of `score`, `label` and `comment`.")
    for name, text, limit in (
        ("label", found.label, MAX_LABEL_CHARS),
        ("comment", found.comment, MAX_COMMENT_CHARS),
    ):
        if text is not None and len(text) > limit:
            raise InvalidRequest(f"`{name}` is longer than {limit} characters.", param=name)
    return found
