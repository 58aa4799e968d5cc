"""Turns what happened to a request into the records of the prediction log."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.protocols.facts import Facts
from gateway.protocols.protocol import Texts
from gateway.protocols.table import protocol_named
from gateway.redaction import MARGIN_BYTES, MAX_PARSED_BYTES, Redactor
from router.config import Price, UpstreamConfig
from router.errors import Reason
from router.outcome import AttemptResult
from storage.config import RecordConfig
from storage.records import Attempt, Begin, CacheOutcome, End, Payload, Prediction, Role

_TAG = re.compile(r"[A-Za-z0-9_.:=/-]{1,64}")
MAX_TAGS = 16
_COUNTING = frozenset({"count_tokens", "input_tokens"})  # they name tokens, and use none


class Counted(Protocol):
    """A body that is not held."""

    @property
    def read_bytes(self) -> int:
        """Return how much of it was read so far."""
        ...


class RequestRecord(msgspec.Struct):
    """What is known of a request so far; becomes BEGIN, then END.

    Attributes
    ----------
    started_at, started_s : int, float
        Wall clock in microseconds, monotonic seconds: when the head had been read.
    request_bytes : int or None
        None: as many as `request` has, or as went through `source`.
    log_payload : bool
        False when the client or the configuration wants no bodies kept.
    """

    id: str
    started_at: int
    started_s: float
    operation: str
    tenant: str
    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    route: str = ""
    variant: str = ""
    upstream: str = ""
    model_asked: str = ""
    protocol: str = "openai"
    stream: bool = False
    user_key: str | None = None
    role: Role = "primary"
    pair_id: str | None = None
    cache: CacheOutcome = "bypass"
    tags: tuple[str, ...] = ()
    request: bytes = b""
    request_bytes: int | None = None
    source: "Counted | None" = None
    log_payload: bool = True
    fallback_from: str | None = None
    status: int = 0
    reason: Reason | None = None
    upstream_s: float = 0.0
    ttft_s: float | None = None
    response_bytes: int = 0
    response: bytes = b""
    response_truncated: bool = False
    response_type: str = "application/json"
    facts: Facts = msgspec.field(default_factory=Facts)

    @property
    def sent_bytes(self) -> int:
        """Return the size of the request's body, or what is known of it by now."""
        if self.source is not None:
            return self.source.read_bytes
        return len(self.request) if self.request_bytes is None else self.request_bytes

    def begin(self) -> Begin:
        """Return the frame written before the first byte goes to the client."""
        return Begin(
            id=self.id,
            started_at=self.started_at,
            route=self.route,
            variant=self.variant,
            upstream=self.upstream,
            model_asked=self.model_asked,
            protocol=self.protocol,
            operation=self.operation,
            tenant=self.tenant,
            role=self.role,
            user_key=self.user_key,
            pair_id=self.pair_id,
            stream=self.stream,
            trace_id=self.trace_id,
            request_bytes=self.sent_bytes,
        )


@dataclass(frozen=True, slots=True)
class Recorder:
    """The policy of the prediction log, applied to one request after the other."""

    config: RecordConfig
    upstreams: dict[str, UpstreamConfig]
    redactor: Redactor

    @classmethod
    def of(cls, config: RecordConfig, upstreams: dict[str, UpstreamConfig]) -> "Recorder":
        """Compile the configuration once."""
        return cls(config, upstreams, Redactor(config.redact))

    def end(self, record: RequestRecord, attempts: Sequence[AttemptResult], *, now_s: float) -> End:
        """Return the whole record of a request that is about to be answered completely."""
        latency_s = now_s - record.started_s
        tries = tuple(
            [
                Attempt(
                    a.attempt_no,
                    a.upstream,
                    a.started_at,
                    (a.ended_s if a.ended_s is not None else now_s) - a.started_s,
                    a.status,
                    a.reason,
                    a.ttft_s,
                )
                for a in attempts
            ]
        )
        return End(self._facts(record, len(tries), latency_s), tries, self._payload(record))

    def _facts(self, record: RequestRecord, attempts: int, latency_s: float) -> Prediction:
        facts = record.facts
        return Prediction(
            id=record.id,
            started_at=record.started_at,
            route=record.route,
            variant=record.variant,
            upstream=record.upstream,
            model_asked=record.model_asked,
            protocol=record.protocol,
            operation=record.operation,
            tenant=record.tenant,
            status=record.status,
            latency_s=latency_s,
            upstream_s=record.upstream_s,
            overhead_s=max(0.0, latency_s - record.upstream_s),
            role=record.role,
            cache=record.cache,
            reason=record.reason,
            attempts=attempts,
            fallback_from=record.fallback_from,
            stream=record.stream,
            model_answered=facts.model_answered,
            version=facts.version,
            user_key=record.user_key,
            pair_id=record.pair_id,
            finish_reason=facts.finish_reason,
            truncated=record.response_truncated,
            prompt_tokens=facts.prompt_tokens,
            response_tokens=facts.response_tokens,
            cached_tokens=facts.cached_tokens,
            reasoning_tokens=facts.reasoning_tokens,
            cost_usd=self._cost_usd(record),
            ttft_s=record.ttft_s,
            time_per_output_token_s=_time_per_output_token_s(record, latency_s),
            request_bytes=record.sent_bytes,
            response_bytes=record.response_bytes,
            trace_id=record.trace_id,
            tags=record.tags,
            span_id=record.span_id,
            parent_span_id=record.parent_span_id,
            tool_calls=facts.tool_calls,
        )

    def _payload(self, record: RequestRecord) -> Payload | None:
        config = self.config
        if config.payloads == "none" or not record.log_payload:
            return None
        # The id is uniform in its last hex digits, so it draws the sample without a generator.
        if config.sample < 1.0 and int(record.id[-8:], 16) >= config.sample * 0x1_0000_0000:
            return None
        limit = config.max_payload_bytes
        request, response = record.request, record.response
        if self.redactor:
            texts = protocol_named(record.protocol).texts
            request = self._redact(request, "application/json", texts)
            response = self._redact(response, record.response_type, texts)
        return Payload(
            request=request[:limit],
            response=response[:limit],
            request_truncated=len(request) > limit,
            response_truncated=record.response_truncated or len(response) > limit,
            response_type=record.response_type,
        )

    def _redact(self, body: bytes, content_type: str, texts: Texts) -> bytes:
        # What is far beyond the cut is not worth the event loop's time.
        bound = max(self.config.max_payload_bytes + MARGIN_BYTES, MAX_PARSED_BYTES)
        return self.redactor.body(body[:bound], content_type, texts)

    def _cost_usd(self, record: RequestRecord) -> float | None:
        """Return the price of the tokens used; None where price or usage is unknown."""
        upstream = self.upstreams.get(record.upstream)
        if upstream is None or not upstream.prices:
            return None
        facts = record.facts
        if record.cache == "hit" or record.operation in _COUNTING:
            return 0.0
        price = _price(upstream, facts.model_answered, record.model_asked)
        if price is None or facts.prompt_tokens is None:
            return None
        cached = facts.cached_tokens or 0 if price.cached_input is not None else 0
        cached = min(cached, facts.prompt_tokens)
        usd = (facts.prompt_tokens - cached) * price.input
        usd += cached * (price.cached_input or 0.0)
        usd += (facts.response_tokens or 0) * price.output
        return usd / 1_000_000


def _price(upstream: UpstreamConfig, *models: str | None) -> Price | None:
    for model in (*models, upstream.model, "*"):
        if model is not None and model in upstream.prices:
            return upstream.prices[model]
    return None


def _time_per_output_token_s(record: RequestRecord, latency_s: float) -> float | None:
    tokens = record.facts.response_tokens
    if not record.stream or record.ttft_s is None or tokens is None or tokens < 2:
        return None
    return (latency_s - record.ttft_s) / (tokens - 1)


def hashed_user_key(tenant: str, key: bytes) -> str:
    """Return the pseudonym under which a user key is stored: 16 bytes of BLAKE2b, as hex."""
    return hashlib.blake2b(key, key=tenant.encode()[:64], digest_size=16).hexdigest()


def parse_tags(value: bytes | None) -> tuple[str, ...]:
    """Return the tags of `x-driftgate-tags`: comma separated, bounded, odd ones dropped."""
    if value is None:
        return ()
    parts = (part.strip() for part in value.decode("latin-1").split(","))
    return tuple(part for part in parts if _TAG.fullmatch(part))[:MAX_TAGS]
