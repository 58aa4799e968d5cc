"""Records as rows: what each table gets of one prediction."""

from typing import NamedTuple

from storage.records import Begin, End, Prediction

Row = tuple[object, ...]
INTERRUPTED = "interrupted"


class Place(NamedTuple):
    """Where a record's frame begins in the spool; of an interrupted one, its BEGIN.

    All are None where nobody noted it: a request that an older program began.
    """

    source: str | None
    segment: int | None
    byte_offset: int | None


NOWHERE = Place(None, None, None)


def interrupted(begin: Begin) -> End:
    """Return the record of a request whose process died before it was answered.

    Status is 0 and durations are 0: nobody knows them. Reads of latency leave such rows out.
    """
    return End(
        Prediction(
            id=begin.id,
            started_at=begin.started_at,
            route=begin.route,
            variant=begin.variant,
            upstream=begin.upstream,
            model_asked=begin.model_asked,
            protocol=begin.protocol,
            operation=begin.operation,
            tenant=begin.tenant,
            status=0,
            latency_s=0.0,
            upstream_s=0.0,
            overhead_s=0.0,
            role=begin.role,
            reason=INTERRUPTED,
            stream=begin.stream,
            user_key=begin.user_key,
            pair_id=begin.pair_id,
            request_bytes=begin.request_bytes,
            trace_id=begin.trace_id,
        )
    )


def model_of(prediction: Prediction) -> str:
    """Return the model that answered, or the one asked for when none said."""
    return prediction.model_answered or prediction.model_asked
