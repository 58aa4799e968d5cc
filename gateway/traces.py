"""OpenTelemetry spans as a view of the record stream.

One SERVER span a prediction and one CLIENT span an attempt, with the ids that went over the wire
and the times in the record. Attribute names are those of OpenTelemetry's GenAI conventions (status
Development, November 2026) and stand in `ATTRIBUTES` alone. Needs the extra `otlp`.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gateway.version import VERSION
from storage.records import Attempt, End, Prediction

log = logging.getLogger(__name__)

# Record field to attribute of the server span.
ATTRIBUTES = {
    "operation": "gen_ai.operation.name",
    "model_asked": "gen_ai.request.model",
    "model_answered": "gen_ai.response.model",
    "stream": "gen_ai.request.stream",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "response_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "ttft_s": "gen_ai.response.time_to_first_chunk",
    "reason": "error.type",
    "status": "http.response.status_code",
    "id": "driftgate.id",
    "route": "driftgate.route",
    "variant": "driftgate.variant",
    "upstream": "driftgate.upstream",
    "role": "driftgate.role",
    "cache": "driftgate.cache",
    "pair_id": "driftgate.pair_id",
    "fallback_from": "driftgate.fallback_from",
}
_SCOPE = InstrumentationScope("driftgate", VERSION)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_CLOSE_MS = 5_000


class OtlpTracing:
    """Queues spans for a background exporter; what does not fit is dropped there, and logged.

    Parameters
    ----------
    share : float
        Of the traces without error or fallback that are kept; the others always are.
    """

    def __init__(self, exporter: SpanExporter, resource: Resource, *, share: float = 1.0) -> None:
        self._processor = BatchSpanProcessor(exporter, max_queue_size=8192)
        self._resource = resource
        self._share = share

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER_ARG`; the exporter reads its own."""
        name = environ.get("OTEL_SERVICE_NAME", "driftgate")
        resource = Resource.create({"service.name": name, "service.version": VERSION})
        try:
            share = min(1.0, max(0.0, float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))))
        except ValueError:
            log.error("`OTEL_TRACES_SAMPLER_ARG` is no number; every trace is kept")  # noqa: TRY400
            share = 1.0
        return cls(OTLPSpanExporter(), resource, share=share)

    def observe(self, ends: Sequence[End]) -> None:
        """Queue the spans of a batch."""
        for end in ends:
            if is_kept(end.prediction, self._share):
                for span in spans_of(end, self._resource):
                    self._processor.on_end(span)

    def close(self) -> None:
        """Send what is queued, within five seconds."""
        self._processor.force_flush(_CLOSE_MS)
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's


def is_kept(prediction: Prediction, share: float) -> bool:
    """Keep every error and fallback, and a share of the rest chosen by the trace id."""
    if prediction.trace_id is None:
        return False
    if prediction.reason is not None or prediction.fallback_from is not None:
        return True
    return int(prediction.trace_id[-8:], 16) < share * 0x1_0000_0000


def spans_of(end: End, resource: Resource) -> Iterator[ReadableSpan]:
    """Yield the server span and one client span an attempt."""
    p = end.prediction
    if p.trace_id is None or p.span_id is None:
        return
    trace_id = int(p.trace_id, 16)
    own = SpanContext(trace_id, int(p.span_id, 16), is_remote=False, trace_flags=_SAMPLED)
    parent = None
    if p.parent_span_id is not None:
        parent_id = int(p.parent_span_id, 16)
        parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=_SAMPLED)
    yield ReadableSpan(
        name=f"{p.operation} {p.model_asked}".strip(),
        context=own,
        parent=parent,
        resource=resource,
        attributes=_attributes(p),
        kind=SpanKind.SERVER,
        status=_status(p.reason),
        start_time=p.started_at * 1_000,
        end_time=_end_ns(p.started_at, p.latency_s),
        instrumentation_scope=_SCOPE,
    )
    for attempt in end.attempts:
        yield _attempt_span(attempt, p, own, resource)


def _attempt_span(
    attempt: Attempt, p: Prediction, own: SpanContext, resource: Resource
) -> ReadableSpan:
    # Attempts have no id on the wire; the same record gives the same one.
    seed = f"{p.id}:{attempt.attempt_no}".encode()
    span_id = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big") or 1
    attributes: dict[str, Any] = {
        "driftgate.attempt_no": attempt.attempt_no,
        "driftgate.upstream": attempt.upstream,
        "gen_ai.operation.name": p.operation,
    }
    if attempt.status is not None:
        attributes["http.response.status_code"] = attempt.status
    if attempt.reason is not None:
        attributes["error.type"] = attempt.reason
    return ReadableSpan(
        name=f"attempt {attempt.upstream}",
        context=SpanContext(own.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED),
        parent=own,
        resource=resource,
        attributes=attributes,
        kind=SpanKind.CLIENT,
        status=_status(attempt.reason),
        start_time=attempt.started_at * 1_000,
        end_time=_end_ns(attempt.started_at, attempt.latency_s),
        instrumentation_scope=_SCOPE,
    )


def _attributes(p: Prediction) -> dict[str, Any]:
    found = {attribute: getattr(p, name) for name, attribute in ATTRIBUTES.items()}
    if p.finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = [p.finish_reason]
    return {name: value for name, value in found.items() if value is not None}


def _status(reason: str | None) -> Status:
    return Status(StatusCode.UNSET) if reason is None else Status(StatusCode.ERROR, reason)


def _end_ns(started_at: int, latency_s: float) -> int:
    return started_at * 1_000 + round(latency_s * 1e9)
