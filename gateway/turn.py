"""One admitted request on its way: plan, look up, dispatch, relay, record."""

import asyncio
import random
from functools import partial
from typing import Any, Protocol

import msgspec

from gateway.admission import Admitted
from gateway.cache import CachedAnswer, ResponseCache, cache_key
from gateway.client_call import AnyTap
from gateway.errors import ModelNotFound, RequestError
from gateway.exchange import Exchange
from gateway.pinning import Pins, Place, kept_id
from gateway.protocols.facts import Facts
from gateway.recording import hashed_user_key
from gateway.relay import Relay, Relayed
from gateway.request_log import RequestLog
from gateway.shadowing import run_shadow
from gateway.snapshot import Snapshot
from gateway.tap import header_value
from gateway.tunnelling import relay_tunnel
from router.clock import Clock
from router.errors import Reason, RouteExhausted
from router.outcome import Outcome
from router.plan import Plan, make_plan, shadow_plan
from router.sticky import sticky_key_of
from router.upstream import Headers
from storage.errors import SpoolUnavailable
from storage.ids import IdSource
from storage.spool import Spool

CLIENT_CLOSED_STATUS = 499
_JSON = (b"Content-Type", b"application/json")
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


class Plane(Protocol):
    """What requests use of their worker."""

    snapshot: Snapshot
    spool: Spool
    clock: Clock
    ids: IdSource
    cache: ResponseCache
    rng: random.Random
    pins: Pins


class Turn(msgspec.Struct):
    """One request; `run` it once."""

    plane: Plane
    exchange: Exchange
    snapshot: Snapshot
    request: Admitted
    plan: Plan
    log: RequestLog

    async def run(self) -> None:
        """Answer it.

        Raises
        ------
        RequestError
            Its body could not be read while it was sent on; it is recorded.
        """
        key = self._cache_key()
        try:
            if key is not None and await self._from_cache(key):
                return
            if self.plan.shadows:
                self._start_shadows()
            relayed = await self._dispatch()
            if relayed is not None and key is not None:
                self._store(key, relayed)
        except asyncio.CancelledError:
            # The client has gone; what it was sent is known, what it would have got is not.
            self._end_early(CLIENT_CLOSED_STATUS, Reason.CLIENT_CLOSED)
            raise
        except SpoolUnavailable:
            raise
        except RequestError as error:
            self._end_early(error.status, error.reason)
            raise
        except BaseException:
            self._end_early(500, Reason.INTERNAL)
            raise

    async def _dispatch(self) -> Relayed | None:
        record, call = self.request.record, self.request.call
        log, clock, plan = self.log, self.plane.clock, self.plan
        try:
            answer = await self.snapshot.dispatcher.run(plan, call, log.outcome)
        except RouteExhausted as error:
            await self._exhausted(error)
            return None
        tap = call.tap
        assert tap is not None
        try:
            record.upstream, record.fallback_from = answer.upstream.name, answer.fallback_from
            record.upstream_s = log.outcome.upstream_s
            if not answer.complete:
                record.upstream_s += clock.monotonic() - answer.attempt.started_s
            own = self._own_headers(len(answer.attempts))
            if self.request.operation.keeps:
                # Whoever has the first event of a response may ask for it at once.
                self._remember(tap)
            if answer.status == 101:
                await relay_tunnel(self.exchange, answer, tap, log, own)
                return None
            relay = Relay(self.exchange, log, clock, plan.route.timeouts, own, self._keep_bytes)
            if not tap.stream:
                return await relay.plain(answer, tap)
            record.ttft_s = clock.monotonic() - record.started_s
            return await relay.stream(answer, tap)
        finally:
            answer.finish(Reason.CLIENT_CLOSED)
            if self.request.operation.keeps:
                self._remember(tap)

    def _remember(self, tap: AnyTap) -> None:
        """Note who keeps the object that was answered."""
        record = self.request.record
        place = Place(self.plan.route.name, record.upstream)
        self.plane.pins.note(record.tenant, kept_id(tap), place)

    @property
    def _keep_bytes(self) -> int:
        return self.snapshot.keep_bytes

    async def _exhausted(self, error: RouteExhausted) -> None:
        record = self.request.record
        record.upstream_s = self.log.outcome.upstream_s
        body = self.request.operation.protocol.error_body(
            str(error), type_="upstream_error", code=error.reason, param=None
        )
        record.response, record.response_bytes = body, len(body)
        await self.log.end(error.status, error.reason)
        headers = [_JSON, *self._own_headers(len(error.attempts))]
        if error.budget_spent or error.status not in {429, 503}:
            # Clients of OpenAI would repeat a 5xx twice, each with all its attempts here.
            headers.append((b"x-should-retry", b"false"))
        if error.retry_after_s is not None:
            headers.append((b"Retry-After", b"%d" % max(1, round(error.retry_after_s))))
        self.exchange.start(error.status, headers, length=len(body))
        self.exchange.finish(body)

    # The cache.

    def _cache_key(self) -> bytes | None:
        request, route = self.request, self.plan.route
        if route.cache is None or not request.use_cache:
            return None
        call, owner = request.call, request.record.tenant
        if call.forward_credentials:
            # Whom the upstream would have refused must not be answered from here.
            owner += "\0" + header_value(call.headers, b"authorization").decode("latin-1")
        key = cache_key(owner, route.name, call.target, call.body, call.headers)
        if key is not None:
            request.record.cache = "miss"
        return key

    async def _from_cache(self, key: bytes) -> bool:
        found = self.plane.cache.get(key, now_s=self.plane.clock.monotonic())
        if found is None:
            return False
        record = self.request.record
        record.cache, record.facts = "hit", found.facts
        record.upstream, record.variant = found.upstream, found.variant
        record.response, record.response_bytes = found.body, len(found.body)
        record.response_type = found.content_type
        if record.stream:
            record.ttft_s = self.plane.clock.monotonic() - record.started_s
            await self.log.begin()
        await self.log.end(found.status)
        headers = [*found.headers, *self._own_headers(0)]
        self.exchange.start(found.status, headers, length=len(found.body))
        self.exchange.finish(found.body)
        return True

    def _store(self, key: bytes, relayed: Relayed) -> None:
        record, ttl = self.request.record, self.plan.route.cache
        if ttl is None or not relayed.complete or record.response_truncated:
            return
        if record.fallback_from is not None:
            return  # A stand-in's answer must not outlive the outage.
        if self.plane.snapshot is not self.snapshot:
            return  # A reload emptied the cache: the same request may belong to another model now.
        answer = CachedAnswer(
            relayed.status,
            relayed.headers,
            relayed.body,
            record.upstream,
            record.variant,
            record.facts,
            record.response_type,
        )
        self.plane.cache.put(key, answer, expires_s=self.plane.clock.monotonic() + ttl.ttl)

    def _start_shadows(self) -> None:
        if not self.request.call.repeatable:
            return  # A body that is read once, a conversation, or what makes a change.
        runner = self.snapshot.shadow_runners[self.plan.route.name]
        for name in self.plan.shadows:
            runner.try_start(partial(self._shadow, name))

    async def _shadow(self, name: str) -> None:
        plane, snapshot, request = self.plane, self.snapshot, self.request
        started_at = plane.clock.now_us()
        alone = shadow_plan(snapshot.table, self.plan, name)
        record = msgspec.structs.replace(
            request.record,
            id=plane.ids.new_id(),
            started_at=started_at,
            started_s=plane.clock.monotonic(),
            role="shadow",
            pair_id=request.record.id,
            variant=name,
            span_id=plane.ids.new_span_id(),
            parent_span_id=request.record.span_id,
            # The primary may be further by now: nothing of its answer is the shadow's.
            **_NOTHING_YET,
            facts=Facts(),
        )
        log = RequestLog(plane.spool, snapshot.recorder, plane.clock, record, Outcome())
        await run_shadow(
            snapshot.shadow_dispatcher, alone, msgspec.structs.replace(request.call, tap=None), log
        )

    def _end_early(self, status: int, reason: Reason) -> None:
        """Record what had come of an answer whose relay did not end."""
        log, tap = self.log, self.request.call.tap
        record = log.record
        if not record.upstream_s:
            record.upstream_s = log.outcome.upstream_s
        if tap is not None and not log.ended:
            record.facts, record.response = tap.facts, tap.text
            record.response_bytes, record.response_truncated = tap.received_bytes, tap.truncated
            record.response_type = tap.content_type or record.response_type
        log.end_now(status, reason)

    def _own_headers(self, attempts: int) -> Headers:
        record = self.request.record
        return [
            (b"x-driftgate-id", record.id.encode()),
            (b"x-driftgate-upstream", record.upstream.encode("latin-1", "replace")),
            (b"x-driftgate-variant", record.variant.encode("latin-1", "replace")),
            (b"x-driftgate-cache", record.cache.encode()),
            (b"x-driftgate-attempts", b"%d" % attempts),
            (b"traceparent", self.request.traceparent),
        ]


def new_turn(plane: Plane, exchange: Exchange, snapshot: Snapshot, request: Admitted) -> Turn:
    """Decide who answers a request.

    Raises
    ------
    ModelNotFound
        No route does.
    """
    record, peek = request.record, request.call.peek
    table, forced = snapshot.table, request.forced_route
    place = plane.pins.find(record.tenant, request.call) if request.pinned else None
    route = table.routes.get(forced) if forced else table.find(record.model_asked)
    if place is not None and not (forced or record.model_asked):
        route = table.routes.get(place.route, route)
    if route is None:
        raise _no_route(snapshot, record.model_asked, forced)
    keeper = place.upstream if place is not None else None
    key = sticky_key_of(
        route.config, header=exchange.header, body_user=peek.user or peek.safety_identifier
    )
    draw = plane.rng.random()
    plan = make_plan(route, sticky_key=key, draw=draw, pinned=request.pinned, keeper=keeper)
    record.route, record.variant = plan.route.name, plan.variant
    record.user_key = hashed_user_key(record.tenant, key) if key else None
    log = RequestLog(plane.spool, snapshot.recorder, plane.clock, record, Outcome())
    return Turn(plane, exchange, snapshot, request, plan, log)


def _no_route(snapshot: Snapshot, model: str, forced: str | None) -> ModelNotFound:
    names = ", ".join(f"`{name}`" for name in snapshot.settings.routes)
    if not (model or forced):
        return ModelNotFound(
            "This request names no model, and the routes lead to different upstreams; name one of"
            f" them in the header `x-driftgate-route`: {names}."
        )
    asked = f"route `{forced}`" if forced else f"model `{model}`"
    return ModelNotFound(f"No route answers the {asked}; the routes are {names}.", param="model")
