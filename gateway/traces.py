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
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gateway.trace_queue import Traced, TraceQueue, TraceStatistics
from gateway.version import VERSION
from storage.records import Attempt, End, Prediction

log = logging.getLogger(__name__)

# Record field to attribute of the server span.
ATTRIBUTES = {
    "operation": "gen_ai.operation.name",
    "protocol": "gen_ai.provider.name",
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


class OtlpTracing:
    """Queues records for a thread that turns them into spans and exports these.

    Parameters
    ----------
    share : float
        Of the traces without error or fallback that are kept; the others always are.
    """

    def __init__(self, exporter: SpanExporter, resource: Resource, *, share: float = 1.0) -> None:
        self._exporter = exporter
        self._resource = resource
        self._share = share
        self._queue = TraceQueue(self._export)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read endpoint, `OTEL_SERVICE_NAME` and `OTEL_TRACES_SAMPLER_ARG`.

        The exporter reads the process's other `OTEL_EXPORTER_OTLP_*` (headers, timeout, TLS).
        """
        name = environ.get("OTEL_SERVICE_NAME", "driftgate")
        resource = Resource.create({"service.name": name, "service.version": VERSION})
        try:
            share = min(1.0, max(0.0, float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))))
        except ValueError:
            log.error("`OTEL_TRACES_SAMPLER_ARG` is no number; every trace is kept")  # noqa: TRY400
            share = 1.0
        return cls(OTLPSpanExporter(endpoint=_endpoint(environ)), resource, share=share)

    def observe(self, ends: Sequence[End]) -> None:
        """Queue a batch of records; the oldest go when there is no room."""
        kept = [e for e in ends if is_kept(e.prediction, self._share)]
        self._queue.put([(end.prediction, end.attempts) for end in kept])

    def close(self) -> None:
        """Send what is queued, within five seconds; what is left then is given up."""
        if not self._queue.close():
            log.warning("traces were given up at shutdown: %s", self.statistics())
        # Ends an export that waits to be repeated.
        self._exporter.shutdown()

    def statistics(self) -> TraceStatistics:
        """Return counts of records since the start."""
        return self._queue.statistics()

    def _export(self, records: Sequence[Traced]) -> bool:
        spans = [span for record in records for span in spans_of(record, self._resource)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS


def _endpoint(environ: Mapping[str, str]) -> str:
    """Return the URL of the traces (OTLP exporter specification, endpoint URLs)."""
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if own:
        return own
    return environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/") + "/v1/traces"


def is_kept(prediction: Prediction, share: float) -> bool:
    """Keep every error and fallback, and a share of the rest chosen by the trace id.

    The choice is that of OpenTelemetry's `TraceIdRatioBased`, so services agree on a trace.
    """
    if prediction.trace_id is None or prediction.span_id is None:
        return False
    if prediction.reason is not None or prediction.fallback_from is not None:
        return True
    return int(prediction.trace_id[16:], 16) < round(share * 2**64)


def spans_of(record: Traced, resource: Resource) -> Iterator[ReadableSpan]:
    """Yield the server span and one client span an attempt."""
    p, attempts = record
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
    for attempt in attempts:
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
