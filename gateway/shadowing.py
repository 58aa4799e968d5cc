"""Repeats a request at another upstream for comparison; nobody waits for it, nobody sees it."""

import asyncio

from gateway.client_call import ClientCall
from gateway.request_log import RequestLog
from router.answer import Answer
from router.dispatch import Dispatcher
from router.errors import Reason, RouteExhausted, UpstreamFault
from router.plan import Plan


async def run_shadow(dispatcher: Dispatcher, plan: Plan, call: ClientCall, log: RequestLog) -> None:
    """Send, read to the end, record with `role = shadow`; every failure is only recorded."""
    record = log.record
    status, reason = 0, None
    answer: Answer | None = None
    try:
        # The dispatcher bounds itself, and knows whose fault it is that time is up.
        answer = await dispatcher.run(plan, call, log.outcome)
        status, record.upstream = answer.status, answer.upstream.name
        if answer.tap.stream:
            record.ttft_s = log.clock.monotonic() - record.started_s
        if answer.tap.is_client_error:
            reason = Reason.UPSTREAM_REJECTED
        async with asyncio.timeout(max(0.0, answer.deadline_s - log.clock.monotonic())):
            await _drain(answer, call)
    except RouteExhausted as error:
        status, reason = error.status, error.reason
    except UpstreamFault as error:
        reason = error.reason
    except TimeoutError:
        reason = Reason.UPSTREAM_TIMEOUT
    except asyncio.CancelledError:
        reason = Reason.INTERRUPTED
        raise
    finally:
        if answer is not None:
            answer.finish(reason)
        record.upstream_s = log.clock.monotonic() - record.started_s
        tap = call.tap
        if tap is not None:
            record.facts = tap.facts
            record.response, record.response_truncated = tap.text, tap.truncated
            record.response_bytes, record.response_type = tap.received_bytes, tap.content_type
        log.end_now(status, reason)


async def _drain(answer: Answer, call: ClientCall) -> None:
    tap = call.tap
    assert tap is not None
    response = answer.response
    while response is not None and not (answer.complete or tap.done):
        tap.take()
        chunk = await response.read()
        if not chunk:
            tap.end()
            return
        tap.feed(chunk)
