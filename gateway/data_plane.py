"""The handler of the data plane: who asks, is there room, what for; then a turn of its own."""

import random
from collections import Counter
from dataclasses import dataclass, field

from gateway import feedback
from gateway.admission import admit
from gateway.auth import tenant_of
from gateway.cache import ResponseCache
from gateway.errors import LogUnavailable, MethodNotAllowed, NotFound, RequestError
from gateway.exchange import Exchange
from gateway.model_list import ModelList, is_model_path
from gateway.overload import OverloadGate
from gateway.pinning import Pins
from gateway.protocols.table import is_inference_path, protocol_of
from gateway.response_head import Refusal, refusal_of
from gateway.snapshot import Snapshot
from gateway.turn import new_turn
from router.clock import Clock
from router.upstream import Headers
from storage.errors import SpoolUnavailable
from storage.ids import IdSource
from storage.spool import Spool

JSON: Headers = [(b"Content-Type", b"application/json")]
_READING = frozenset({"GET", "HEAD"})


def refusal_body(path: str, refusal: Refusal) -> bytes:
    """Return a refusal in the words of the path's protocol: a `ServerError`."""
    return protocol_of(path).error_body(
        refusal.message, type_=refusal.type, code=refusal.reason, param=refusal.param
    )


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
    gate: OverloadGate
    models: ModelList
    ready: bool = False
    in_flight: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    pins: Pins = field(default_factory=Pins)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            if is_inference_path(exchange.path):
                await self._inference(exchange)
            else:
                self._service(exchange)
        except RequestError as error:
            self._refuse(exchange, error)
        except SpoolUnavailable as error:
            if exchange.responded:
                raise
            self._refuse(exchange, LogUnavailable(f"The prediction log cannot be written: {error}"))

    def _service(self, exchange: Exchange) -> None:
        """Answer the paths that are about the gateway itself."""
        if exchange.path not in {"/healthz", "/readyz"}:
            raise NotFound(f"There is no path `{exchange.path}` here; models live below `/v1`.")
        if exchange.method not in _READING:
            raise MethodNotAllowed(
                f"`{exchange.path}` takes GET, not {exchange.method}.", allowed="GET, HEAD"
            )
        good = exchange.path == "/healthz" or self.ready
        body = b'{"status":"ok"}' if good else b'{"status":"not ready"}'
        exchange.start(200 if good else 503, JSON, length=len(body))
        exchange.finish(body)

    async def _inference(self, exchange: Exchange) -> None:
        snapshot = self.snapshot
        # Before anything else here: what exists is nobody's business without a key.
        tenant = tenant_of(exchange, snapshot.keys)
        path = exchange.path
        if path == feedback.PATH:
            now_us = self.clock.now_us()
            await feedback.take_feedback(exchange, tenant, self.spool, now_us=now_us)
            return
        if exchange.method in _READING and is_model_path(path):
            keyless = not snapshot.keys
            body = await self.models.answer(exchange, snapshot.settings, keyless=keyless)
            exchange.start(200, JSON, length=len(body))
            exchange.finish(body)
            return
        gate = self.gate
        if not gate.try_enter():
            await gate.wait()
        self.in_flight += 1
        try:
            if not self.spool.available:
                raise LogUnavailable(
                    "The prediction log cannot be written and `record.on_full` is fail_closed."
                )
            request = await admit(
                exchange, snapshot, self.ids, tenant=tenant, started_at=self.clock.now_us()
            )
            await new_turn(self, exchange, snapshot, request).run()
        finally:
            self.in_flight -= 1
            gate.leave()

    def _refuse(self, exchange: Exchange, error: RequestError) -> None:
        self.refused[error.reason] += 1
        if exchange.responded:
            exchange.abort()
            return
        body = refusal_body(exchange.path, refusal_of(error))
        headers = list(JSON)
        if error.status == 503:
            headers.append((b"Retry-After", b"1"))
        if isinstance(error, MethodNotAllowed):
            headers.append((b"Allow", error.allowed.encode()))
        exchange.start(error.status, headers, length=len(body))
        exchange.finish(body)
