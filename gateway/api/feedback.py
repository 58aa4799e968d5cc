"""`POST /feedback`: labels and scores of a file, written straight into the log."""

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from gateway.api.errors import ERRORS, ErrorRoute, ParameterRefused
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from gateway.auth import NO_KEYS_TENANT
from gateway.feedback_rows import (
    FeedbackBody,
    FeedbackInvalid,
    FeedbackTaken,
    checked,
    record_of,
    word_of,
)

MAX_ROWS = 10_000


class FeedbackRow(BaseModel):
    """What became of one prediction; at least one of score, label and comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="The `x-driftgate-id` of the answer.")
    score: float | None = None
    label: StrictBool | StrictInt | StrictFloat | StrictStr | None = Field(
        None,
        description="The true outcome, or a word such as `good`; 1, 1.0 and `1` are the same.",
    )
    comment: str | None = None


class FeedbackRows(BaseModel):
    """Feedback; of several rows of one prediction the last one counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feedback: list[FeedbackRow] = Field(min_length=1, max_length=MAX_ROWS)


def router(state: ApiState) -> APIRouter:
    """Return the route of feedback."""
    routes = APIRouter(route_class=ErrorRoute, tags=["feedback"])

    @routes.post(
        "/feedback",
        summary="Tell what became of many predictions",
        response_class=Response,
        status_code=201,
        responses={
            **{code: ERRORS[code] for code in (422, 503)},
            201: answer_of(FeedbackTaken, "What was written."),
        },
    )
    def add(wanted: FeedbackRows) -> Response:
        """Write all rows or none, whether or not their predictions are in the log yet."""
        now_us = state.clock.now_us()
        given = []
        for number, row in enumerate(wanted.feedback):
            try:
                found = checked(_body_of(row))
            except FeedbackInvalid as error:
                where = f"feedback.{number}.{error.param}"
                raise ParameterRefused(f"row {number}: {error}", where) from error
            given.append(record_of(found, NO_KEYS_TENANT, now_us + number))
        taken = FeedbackTaken(*state.repository.add_feedback(given))
        return Response(msgspec.json.encode(taken), 201, media_type="application/json")

    return routes


def _body_of(row: FeedbackRow) -> FeedbackBody:
    return FeedbackBody(row.id, row.score, word_of(row.label), row.comment)
