"""Spans: what a collector receives of a record, and that ingest never waits for one."""

import threading
import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from support.log_records import NOW, end_of
from support.webhook_receiver import Receiver, receiving

from gateway.trace_queue import BATCH, TraceQueue
from gateway.traces import OtlpTracing, is_kept
from gateway.tracing import Tracing, open_tracing
from storage.records import Attempt, End

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT_ID = "00f067aa0ba902b7"


def traced(number: int = 1, **facts: object) -> End:
    """Return a record that belongs to a trace."""
    ids = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "parent_span_id": PARENT_ID}
    end = end_of(number)
    return End(msgspec.structs.replace(end.prediction, **(ids | facts)), end.attempts, end.payload)


@pytest.fixture
def collector() -> Iterator[Receiver]:
    """Return an OTLP collector that keeps what it gets."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def tracing(collector: Receiver) -> Iterator[Tracing]:
    """Return the exporter that the standard variable asks for."""
    opened = open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}/"})
    assert opened is not None
    yield opened
    opened.close()


def spans_at(collector: Receiver, tracing: Tracing) -> list[Span]:
    """Send what is queued and return the spans that arrived."""
    tracing.close()
    spans: list[Span] = []
    for received in collector.received:
        assert received.path == "/v1/traces"
        message = ExportTraceServiceRequest.FromString(received.body)
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                assert scope.scope.name == "driftgate"
                spans += scope.spans
    return spans


def attributes_of(span: Span) -> dict[str, object]:
    """Return a span's attributes as Python values."""
    found: dict[str, object] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        value = getattr(pair.value, kind)
        found[pair.key] = [v.string_value for v in value.values] if "array" in kind else value
    return found


def test_record_becomes_a_server_span(collector: Receiver, tracing: Tracing) -> None:
    """Ids, kind and times are those of the record."""
    tracing.observe([traced(latency_s=0.5)])
    span = spans_at(collector, tracing)[0]
    assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert span.parent_span_id.hex() == PARENT_ID
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.name == "chat m"
    assert span.start_time_unix_nano == (NOW + 1) * 1_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 500_000_000


def test_span_has_the_genai_attributes(collector: Receiver, tracing: Tracing) -> None:
    """Operation, models, tokens and finish reason carry OpenTelemetry's names."""
    tracing.observe([traced(stream=True)])
    found = attributes_of(spans_at(collector, tracing)[0])
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-2",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.finish_reasons": ["stop"],
        "http.response.status_code": 200,
        "driftgate.route": "chat",
        "driftgate.variant": "primary",
    }
    assert expected.items() <= found.items()
    assert "error.type" not in found


def test_each_attempt_is_a_client_span(collector: Receiver, tracing: Tracing) -> None:
    """A fallback shows two children of the server span; the failed one has its error."""
    end = traced(upstream="spare", fallback_from="primary")
    tries = (
        Attempt(1, "primary", NOW, 0.1, 503, "upstream_error"),
        Attempt(2, "spare", NOW + 100_000, 0.2, 200),
    )
    tracing.observe([End(end.prediction, tries)])
    _, failed, answered = spans_at(collector, tracing)
    assert {failed.parent_span_id.hex(), answered.parent_span_id.hex()} == {SPAN_ID}
    assert failed.kind == answered.kind == Span.SPAN_KIND_CLIENT
    assert len({failed.span_id, answered.span_id, bytes.fromhex(SPAN_ID)}) == 3
    assert attributes_of(failed)["error.type"] == "upstream_error"
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert answered.status.code == Status.STATUS_CODE_UNSET
    assert answered.end_time_unix_nano - answered.start_time_unix_nano == 200_000_000


def test_failed_request_is_an_error_span(collector: Receiver, tracing: Tracing) -> None:
    """The reason is status and `error.type`."""
    tracing.observe([traced(status=502, reason="upstream_unreachable")])
    span = spans_at(collector, tracing)[0]
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(span)["error.type"] == "upstream_unreachable"


def test_record_without_a_trace_is_no_span(collector: Receiver, tracing: Tracing) -> None:
    """Records of before the ids were kept are left out."""
    tracing.observe([end_of(1)])
    assert spans_at(collector, tracing) == []


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (traced(), False),
        (traced(reason="upstream_error"), True),
        (traced(fallback_from="primary"), True),
    ],
    ids=["answered", "error", "fallback"],
)
def test_errors_and_fallbacks_are_always_kept(end: End, *, kept: bool) -> None:
    """With a share of zero only errors and fallbacks remain."""
    assert is_kept(end.prediction, 0.0) is kept


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_share_is_chosen_as_other_services_do(share: float) -> None:
    """The choice by trace id is that of OpenTelemetry's own sampler."""
    sampler = TraceIdRatioBased(share)
    for number in range(200):
        trace_id = number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128
        theirs = sampler.should_sample(None, trace_id, "x").decision
        ours = is_kept(traced(trace_id=f"{trace_id:032x}").prediction, share)
        assert ours is (theirs is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize("environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}])
def test_nothing_is_opened_unasked(environ: dict[str, str]) -> None:
    """Without an endpoint there is no exporter and no thread."""
    assert open_tracing(environ) is None


class StuckExporter(SpanExporter):
    """A collector that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.free.wait(20.0)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.free.set()


def test_stuck_collector_does_not_hold_ingest() -> None:
    """Records are taken at once, and counted as dropped, while an export hangs."""
    exporter = StuckExporter()
    tracing = OtlpTracing(exporter, Resource({}))
    batch = [traced(number) for number in range(1_000)]
    started_s = time.monotonic()
    for _ in range(20):
        tracing.observe(batch)
    assert time.monotonic() - started_s < 2.0
    assert tracing.statistics().queued <= 8_192
    assert tracing.statistics().dropped >= 20_000 - 8_192 - BATCH
    exporter.free.set()
    tracing.close()
    assert tracing.statistics().failed > 0


def test_closing_does_not_wait_for_ever() -> None:
    """A thread that hangs in an export is left behind after the bound."""
    free = threading.Event()
    queue = TraceQueue(lambda _: free.wait(20.0))
    end = traced()
    queue.put([(end.prediction, end.attempts)])
    started_s = time.monotonic()
    assert queue.close(0.2) is False
    assert time.monotonic() - started_s < 2.0
    free.set()
    assert queue.close(10.0) is True
