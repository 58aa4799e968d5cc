"""The handler of the data plane: admit, plan, look up, dispatch, relay, record."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway import feedback
from gateway.admission import PREFIX, Admitted, admit
from gateway.auth import tenant_of
from gateway.cache import CachedAnswer, ResponseCache, cache_key
from gateway.errors import (
    LogUnavailable,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RequestError,
    error_body,
)
from gateway.exchange import Exchange
from gateway.protocols.facts import Facts
from gateway.recording import hashed_user_key
from gateway.relay import Relay, Relayed
from gateway.request_log import RequestLog
from gateway.shadowing import run_shadow
from gateway.snapshot import Snapshot
from gateway.tap import header_value
from router.clock import Clock
from router.errors import Reason, RouteExhausted
from router.outcome import Outcome
from router.plan import Plan, make_plan, shadow_plan
from router.sticky import sticky_key_of
from router.upstream import Headers
from storage.errors import SpoolUnavailable
from storage.ids import IdSource
from storage.spool import Spool

JSON: Headers = [(b"Content-Type", b"application/json")]
CLIENT_CLOSED_STATUS = 499
_NOTHING_YET: dict[str, Any] = {
    "upstream": "",
    "cache": "bypass",
    "fallback_from": None,
    "ttft_s": None,
    "upstream_s": 0.0,
    "response": b"",
    "response_bytes": 0,
    "response_truncated": False,
}


@dataclass(slots=True)
class DataPlane:
    """Answers every exchange of one worker.

    Attributes
    ----------
    snapshot : Snapshot
        Replaced whole on reload; a request keeps the one it began with.
    ready : bool
        False while starting and draining.
    refused : Counter
        Requests refused before they were routed, by reason.
    """

    snapshot: Snapshot
    spool: Spool
    clock: Clock
    ids: IdSource
    cache: ResponseCache
    rng: random.Random
    ready: bool = False
    in_flight: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            if exchange.path.startswith(PREFIX + "/"):
                await self._inference(exchange)
            else:
                self._service(exchange)
        except RequestError as error:
            self.refused[error.reason] += 1
            _refuse(exchange, error)
        except SpoolUnavailable as error:
            if exchange.responded:
                raise
            self.refused[Reason.LOG_UNAVAILABLE] += 1
            _refuse(exchange, LogUnavailable(f"The prediction log cannot be written: {error}"))

    def _service(self, exchange: Exchange) -> None:
        """Answer the paths that are about the gateway itself."""
        if exchange.path not in {"/healthz", "/readyz"}:
            raise NotFound(f"There is no path `{exchange.path}` here; models live below `/v1`.")
        if exchange.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed(f"`{exchange.path}` takes GET, not {exchange.method}.")
        good = exchange.path == "/healthz" or self.ready
        body = b'{"status":"ok"}' if good else b'{"status":"not ready"}'
        exchange.start(200 if good else 503, JSON, length=len(body))
        exchange.finish(body)

    async def _inference(self, exchange: Exchange) -> None:
        snapshot = self.snapshot
        # Before anything else below /v1: what exists there is nobody's business without a key.
        tenant = tenant_of(exchange, snapshot.keys)
        if exchange.path == feedback.PATH:
            now_us = self.clock.now_us()
            await feedback.take_feedback(exchange, snapshot, self.spool, now_us=now_us)
            return
        if exchange.path == "/v1/models" and exchange.method in {"GET", "HEAD"}:
            exchange.start(200, JSON, length=len(snapshot.models_body))
            exchange.finish(snapshot.models_body)
            return
        if not self.spool.available:
            raise LogUnavailable(
                "The prediction log cannot be written and `record.on_full` is fail_closed."
            )
        self.in_flight += 1
        try:
            started_at = self.clock.now_us()
            request = await admit(
                exchange, snapshot, self.ids, tenant=tenant, started_at=started_at
            )
            await self._answer(exchange, snapshot, request)
        finally:
            self.in_flight -= 1

    async def _answer(self, exchange: Exchange, snapshot: Snapshot, request: Admitted) -> None:
        plan = self._plan(exchange, snapshot, request)
        outcome = Outcome()
        log = RequestLog(self.spool, snapshot.recorder, self.clock, request.record, outcome)
        key = self._cache_key(request, plan)
        try:
            if key is not None and await self._from_cache(exchange, request, log, key):
                return
            for name in plan.shadows:
                runner = snapshot.shadow_runners[plan.route.name]
                runner.try_start(partial(self._shadow, snapshot, request, plan, name))
            relayed = await self._dispatch(exchange, snapshot, request, plan, log)
            if relayed is not None and key is not None:
                self._store(key, relayed, request, plan)
        except asyncio.CancelledError:
            # The client has gone; what it was sent is known, what it would have got is not.
            _note_arrived(request, log)
            log.end_now(CLIENT_CLOSED_STATUS, Reason.CLIENT_CLOSED)
            raise
        except SpoolUnavailable:
            raise
        except BaseException:
            _note_arrived(request, log)
            log.end_now(500, Reason.INTERNAL)
            raise

    def _plan(self, exchange: Exchange, snapshot: Snapshot, request: Admitted) -> Plan:
        record, call = request.record, request.call
        table, forced = snapshot.table, request.forced_route
        route = table.routes.get(forced) if forced else table.find(record.model_asked)
        if route is None:
            raise _no_route(snapshot, record.model_asked, forced)
        user = call.peek.user or call.peek.safety_identifier
        key = sticky_key_of(route.config, header=exchange.header, body_user=user)
        plan = make_plan(
            table,
            model=record.model_asked,
            sticky_key=key,
            draw=self.rng.random(),
            forced_route=forced,
        )
        if plan is None:
            raise _no_route(snapshot, record.model_asked, forced)
        record.route, record.variant = plan.route.name, plan.variant
        record.user_key = hashed_user_key(record.tenant, key) if key else None
        return plan

    async def _dispatch(
        self, exchange: Exchange, snapshot: Snapshot, request: Admitted, plan: Plan, log: RequestLog
    ) -> Relayed | None:
        record, call = request.record, request.call
        try:
            answer = await snapshot.dispatcher.run(plan, call, log.outcome)
        except RouteExhausted as error:
            await self._exhausted(exchange, request, log, error)
            return None
        tap = call.tap
        assert tap is not None
        record.upstream, record.fallback_from = answer.upstream.name, answer.fallback_from
        now_s = self.clock.monotonic()
        record.upstream_s = log.outcome.upstream_s
        if not answer.complete:
            record.upstream_s += now_s - answer.attempt.started_s
        if tap.stream:
            record.ttft_s = now_s - record.started_s
        relay = Relay(
            exchange,
            log,
            self.clock,
            plan.route.timeouts,
            self._own_headers(request, len(answer.attempts)),
            snapshot.keep_bytes,
        )
        try:
            if tap.stream:
                return await relay.stream(answer, tap)
            return await relay.plain(answer, tap)
        finally:
            answer.finish(Reason.CLIENT_CLOSED)

    async def _exhausted(
        self, exchange: Exchange, request: Admitted, log: RequestLog, error: RouteExhausted
    ) -> None:
        record = request.record
        record.upstream_s = log.outcome.upstream_s
        body = error_body(str(error), type_="upstream_error", code=error.reason)
        record.response, record.response_bytes = body, len(body)
        await log.end(error.status, error.reason)
        headers = [*JSON, *self._own_headers(request, len(error.attempts))]
        if error.budget_spent or error.status not in {429, 503}:
            # Clients of OpenAI would repeat a 5xx twice, each with all its attempts here.
            headers.append((b"x-should-retry", b"false"))
        if error.retry_after_s is not None:
            headers.append((b"Retry-After", b"%d" % max(1, round(error.retry_after_s))))
        exchange.start(error.status, headers, length=len(body))
        exchange.finish(body)

    def _cache_key(self, request: Admitted, plan: Plan) -> bytes | None:
        if plan.route.cache is None or not request.use_cache:
            return None
        call, owner = request.call, request.record.tenant
        if call.forward_credentials:
            # Whom the upstream would have refused must not be answered from here.
            owner += "\0" + header_value(call.headers, b"authorization").decode("latin-1")
        key = cache_key(owner, plan.route.name, call.target, call.body)
        if key is not None:
            request.record.cache = "miss"
        return key

    async def _from_cache(
        self, exchange: Exchange, request: Admitted, log: RequestLog, key: bytes
    ) -> bool:
        found = self.cache.get(key, now_s=self.clock.monotonic())
        if found is None:
            return False
        record = request.record
        record.cache, record.facts = "hit", found.facts
        record.upstream, record.variant = found.upstream, found.variant
        record.response, record.response_bytes = found.body, len(found.body)
        record.response_type = found.content_type
        if record.stream:
            record.ttft_s = self.clock.monotonic() - record.started_s
        if request.call.stream:
            await log.begin()
        await log.end(found.status)
        headers = [*found.headers, *self._own_headers(request, 0)]
        exchange.start(found.status, headers, length=len(found.body))
        exchange.finish(found.body)
        return True

    def _store(self, key: bytes, relayed: Relayed, request: Admitted, plan: Plan) -> None:
        record, ttl = request.record, plan.route.cache
        if ttl is None or not relayed.complete or record.response_truncated:
            return
        if record.fallback_from is not None:
            return  # A stand-in's answer must not outlive the outage.
        answer = CachedAnswer(
            relayed.status,
            relayed.headers,
            relayed.body,
            record.upstream,
            record.variant,
            record.facts,
            record.response_type,
        )
        self.cache.put(key, answer, expires_s=self.clock.monotonic() + ttl.ttl)

    async def _shadow(self, snapshot: Snapshot, request: Admitted, plan: Plan, name: str) -> None:
        started_at = self.clock.now_us()
        alone = shadow_plan(snapshot.table, plan, name)
        record = replace(
            request.record,
            id=self.ids.new_id(),
            started_at=started_at,
            started_s=self.clock.monotonic(),
            role="shadow",
            pair_id=request.record.id,
            variant=name,
            span_id=self.ids.new_span_id(),
            parent_span_id=request.record.span_id,
            # The primary may be further by now: nothing of its answer is the shadow's.
            **_NOTHING_YET,
            facts=Facts(),
        )
        log = RequestLog(self.spool, snapshot.recorder, self.clock, record, Outcome())
        await run_shadow(snapshot.shadow_dispatcher, alone, replace(request.call, tap=None), log)

    def _own_headers(self, request: Admitted, attempts: int) -> Headers:
        record = request.record
        return [
            (b"x-driftgate-id", record.id.encode()),
            (b"x-driftgate-upstream", record.upstream.encode("latin-1", "replace")),
            (b"x-driftgate-variant", record.variant.encode("latin-1", "replace")),
            (b"x-driftgate-cache", record.cache.encode()),
            (b"x-driftgate-attempts", b"%d" % attempts),
            (b"traceparent", request.traceparent),
        ]


def _note_arrived(request: Admitted, log: RequestLog) -> None:
    """Record what had come of an answer whose relay did not end."""
    record, tap = log.record, request.call.tap
    if not record.upstream_s:
        record.upstream_s = log.outcome.upstream_s
    if tap is not None and not log.ended:
        record.facts, record.response = tap.facts, tap.body
        record.response_bytes, record.response_truncated = tap.received_bytes, tap.truncated
        record.response_type = tap.content_type or record.response_type


def _no_route(snapshot: Snapshot, model: str, forced: str | None) -> ModelNotFound:
    names = ", ".join(f"`{name}`" for name in snapshot.settings.routes)
    asked = f"route `{forced}`" if forced else f"model `{model}`"
    return ModelNotFound(f"No route answers the {asked}; the routes are {names}.", param="model")


def _refuse(exchange: Exchange, error: RequestError) -> None:
    body = error_body(str(error), type_=error.type, code=error.reason, param=error.param)
    headers = list(JSON)
    if error.status == 503:
        headers.append((b"Retry-After", b"1"))
    if error.status == 405:
        headers.append((b"Allow", b"GET" if not exchange.path.startswith(PREFIX) else b"POST"))
    exchange.start(error.status, headers, length=len(body))
    exchange.finish(body)
