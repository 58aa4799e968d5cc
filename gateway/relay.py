"""Hands an upstream's answer to the client, and its record to the log before the last byte."""

import asyncio
from dataclasses import dataclass

from gateway.client_call import AnyTap
from gateway.errors import error_body
from gateway.exchange import Exchange
from gateway.headers import to_client
from gateway.protocols import openai
from gateway.request_log import RequestLog
from gateway.tap import PassTap, header_value
from router.answer import Answer
from router.clock import Clock
from router.config import Timeouts
from router.errors import Reason, UpstreamFault
from router.upstream import Headers, UpstreamResponse

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


@dataclass(slots=True)
class Relayed:
    """What the client got: for the cache."""

    status: int
    headers: Headers
    body: bytes
    complete: bool


@dataclass(slots=True)
class Relay:
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
        if tap.is_client_error and not openai.is_error_object(body):
            body = _client_error(status)
            headers = [(b"Content-Type", b"application/json")]
        self._note(tap, body)
        answer.finish(None)
        await self.log.end(status, Reason.UPSTREAM_REJECTED if tap.is_client_error else None)
        overhead_s = self.clock.monotonic() - record.started_s - record.upstream_s
        own = (b"x-driftgate-overhead-ms", b"%.3f" % (max(0.0, overhead_s) * 1000))
        self.exchange.start(status, [*headers, *self.own_headers, own], length=len(body))
        self.exchange.finish(body)
        return Relayed(status, headers, body, complete=not tap.is_client_error)

    async def stream(self, answer: Answer, tap: AnyTap) -> Relayed:
        """Relay a stream from its commit point to its end, honestly."""
        headers = to_client(answer.headers)
        await self.log.begin()
        passed = isinstance(tap, PassTap)
        length = _content_length(answer.headers) if passed else None
        self.exchange.start(answer.status, [*headers, *self.own_headers], length=length)
        sent: list[bytes] = []
        fault: Reason | None = None
        try:
            await self._pump(answer, tap, sent)
        except TimeoutError:
            fault = Reason.STREAM_TIMEOUT
        except UpstreamFault as error:
            fault = _STREAM_REASONS.get(error.reason, error.reason)
        last = tap.take()
        if fault is not None and not passed:
            last += _error_event(fault)
        sent.append(last)
        body = b"".join(sent)
        self._note(tap, body)
        answer.finish(fault)
        await self.log.end(answer.status, fault)
        if fault is not None and passed:
            # There is no way to tell the truth inside an unknown format but to cut it.
            self.exchange.abort()
        else:
            self.exchange.finish(last)
        return Relayed(answer.status, headers, body, complete=fault is None)

    async def _pump(self, answer: Answer, tap: AnyTap, sent: list[bytes]) -> None:
        """Move chunks until the answer ends; the last bytes stay in the tap.

        Raises
        ------
        TimeoutError
            No content within `idle`, or the total is used up.
        UpstreamFault
        """
        clock, exchange = self.clock, self.exchange
        idle_s = clock.monotonic() + self.timeouts.idle
        loop = asyncio.get_running_loop()
        kept = 0
        response = answer.response
        while response is not None and not (answer.complete or tap.done):
            ready = tap.take()
            if ready:
                exchange.write(ready)
                if kept <= self.keep_bytes:
                    sent.append(ready)
                    kept += len(ready)
                await exchange.drain()
            wait_s = max(0.0, min(idle_s, answer.deadline_s) - clock.monotonic())
            events = tap.content_events
            async with asyncio.timeout_at(loop.time() + wait_s):
                chunk = await self._read(response)
            if not chunk:
                tap.end()
                return
            tap.feed(chunk)
            if tap.content_events != events:
                idle_s = clock.monotonic() + self.timeouts.idle

    async def _read(self, response: UpstreamResponse) -> bytes:
        """Return the next bytes; the wait for them is the upstream's, also when it ends badly."""
        before_s = self.clock.monotonic()
        try:
            return await response.read()
        finally:
            self.log.record.upstream_s += self.clock.monotonic() - before_s

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


def _client_error(status: int) -> bytes:
    message = f"The upstream refused the request with status {status}."
    return error_body(message, type_="invalid_request_error", code=Reason.UPSTREAM_REJECTED)


def _error_event(reason: Reason) -> bytes:
    message = _MESSAGES.get(reason, _MESSAGES[Reason.UPSTREAM_ERROR])
    code = reason if reason in _MESSAGES else Reason.UPSTREAM_ERROR
    return b"data: " + error_body(message, type_="upstream_error", code=code) + b"\n\n"
