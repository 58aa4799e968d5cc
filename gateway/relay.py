"""Hands an upstream's answer to the client, and its record to the log before the last byte."""

import asyncio

import msgspec

from gateway.client_call import AnyTap
from gateway.exchange import Exchange
from gateway.headers import to_client
from gateway.request_log import RequestLog
from gateway.stream_pump import SlowClientError, StreamPump
from gateway.tap import PassTap, header_value
from router.answer import Answer
from router.clock import Clock
from router.config import Timeouts
from router.deadline import Deadline
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

LINGER_S = 0.05
LINGER_BYTES = 65_536
"""How long, and how much, an upstream may still send after the event that ended its stream."""

_STREAM_REASONS = {
    Reason.UPSTREAM_UNREACHABLE: Reason.STREAM_INTERRUPTED,
    Reason.UPSTREAM_INVALID: Reason.UPSTREAM_ERROR,
    Reason.UPSTREAM_TIMEOUT: Reason.STREAM_TIMEOUT,
}
_MESSAGES = {
    Reason.STREAM_INTERRUPTED: "The upstream's stream was cut before it was complete.",
    Reason.STREAM_TIMEOUT: "The upstream stopped sending before its answer was complete.",
    Reason.UPSTREAM_ERROR: "The upstream reported an error in the middle of its answer.",
}


class Relayed(msgspec.Struct):
    """What the client got: for the cache."""

    status: int
    headers: Headers
    body: bytes
    complete: bool


class Relay(msgspec.Struct):
    """One answer on its way to one client."""

    exchange: Exchange
    log: RequestLog
    clock: Clock
    timeouts: Timeouts
    own_headers: Headers
    keep_bytes: int

    async def plain(self, answer: Answer, tap: AnyTap) -> Relayed:
        """Send a complete answer; its record is written first."""
        record = self.log.record
        status, body = answer.status, tap.body
        headers = to_client(answer.headers)
        shown = tap.text
        if tap.is_client_error and (refusal := tap.refusal()) is not None:
            body = shown = refusal
            headers = [(b"Content-Type", b"application/json")]
        self._note(tap, shown)
        await self.log.end(status, Reason.UPSTREAM_REJECTED if tap.is_client_error else None)
        overhead_s = self.clock.monotonic() - record.started_s - record.upstream_s
        own = (b"x-driftgate-overhead-ms", b"%.3f" % (max(0.0, overhead_s) * 1000))
        length = _content_length(answer.headers) if tap.bodiless else len(body)
        self.exchange.start(status, [*headers, *self.own_headers, own], length=length)
        self.exchange.finish(body)
        return Relayed(status, headers, body, complete=not tap.is_client_error)

    async def stream(self, answer: Answer, tap: AnyTap) -> Relayed:
        """Relay a stream from its commit point to its end, honestly."""
        headers = to_client(answer.headers)
        await self.log.begin()
        length = _content_length(answer.headers) if isinstance(tap, PassTap) else None
        self.exchange.start(answer.status, [*headers, *self.own_headers], length=length)
        pump = StreamPump(
            self.exchange,
            tap,
            self.clock,
            idle_s=self.timeouts.idle,
            deadline_s=answer.deadline_s,
            keep_bytes=self.keep_bytes,
        )
        fault = await self._run(pump, answer, length)
        last = pump.last
        words: bytes | None = b""
        if fault is not None:
            words = _last_words(tap, fault)
            last += tap.take() + (words or b"")
        body = b"".join((*pump.sent, last))
        self._note(tap, tap.text if tap.coding else body)
        await self.log.end(answer.status, fault)
        if words is None:
            # There is no way to tell the truth inside an unknown format but to cut it.
            self.exchange.abort()
        else:
            self.exchange.finish(last)
            await self._linger(answer, tap)
        return Relayed(answer.status, headers, body, complete=fault is None)

    async def _run(self, pump: StreamPump, answer: Answer, length: int | None) -> Reason | None:
        """Pump to the end; return how it ended for the client, None is well."""
        record, started_s = self.log.record, self.clock.monotonic()
        fault = blame = None
        try:
            await pump.run(None if answer.complete else answer.response, length=length)
        except UpstreamFault as error:
            fault = blame = _STREAM_REASONS.get(error.reason, error.reason)
        except SlowClientError:
            # The client's slowness is nothing that an upstream's breaker should count.
            fault, blame = Reason.STREAM_TIMEOUT, Reason.CLIENT_CLOSED
        finally:
            passed_s = self.clock.monotonic() - started_s
            record.upstream_s += max(0.0, passed_s - pump.paused_s)
        answer.end(blame)
        return fault

    async def _linger(self, answer: Answer, tap: AnyTap) -> None:
        """Read what frames the end of a finished stream, so that its connection can be kept."""
        response = answer.response
        if response is None or not tap.done:
            return
        read_bytes = 0
        try:
            with Deadline(asyncio.get_running_loop(), LINGER_S):
                while read_bytes < LINGER_BYTES and (chunk := await response.read()):
                    read_bytes += len(chunk)
        except (TimeoutError, UpstreamFault):
            return

    def _note(self, tap: AnyTap, body: bytes) -> None:
        record = self.log.record
        record.facts = tap.facts
        record.response = body
        record.response_bytes = tap.received_bytes
        record.response_truncated = tap.truncated
        record.response_type = tap.content_type or "application/octet-stream"


def _content_length(headers: Headers) -> int | None:
    value = header_value(headers, b"content-length")
    return int(value) if value.isdigit() else None


def _last_words(tap: AnyTap, reason: Reason) -> bytes | None:
    """Return what tells a client that its stream broke, None when nothing but a cut can."""
    message = _MESSAGES.get(reason, _MESSAGES[Reason.UPSTREAM_ERROR])
    return tap.last_words(message, reason if reason in _MESSAGES else Reason.UPSTREAM_ERROR)
