"""Takes a request along its plan until an upstream gives an answer worth showing."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from router.answer import Answer, Lane, Trip
from router.breaker import Breaker, Effect
from router.budget import RetryBudget
from router.clock import Clock
from router.concurrency import upstream_gate, wait_for_upstream
from router.config import UpstreamConfig
from router.deadline import Deadline
from router.errors import Reason, RouteExhausted, UpstreamFault
from router.exhausted import exhausted
from router.outcome import AttemptResult, Call, Outcome
from router.plan import Plan
from router.upstream import Upstream, UpstreamResponse

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_FIRST_DELAY_S = 0.025
_MAX_DELAY_S = 0.25
_FINAL = frozenset({Reason.UPSTREAM_AUTH, Reason.UPSTREAM_REJECTED})


class DispatchStatistics(NamedTuple):
    """A moment of a dispatcher.

    Attributes
    ----------
    active : int
        Requests under way, from `run` to `Answer.finish`.
    repeats : int
        How many of them hold a permit of their route's retry budget.
    denied : int
        Permits refused so far.
    breakers : dict of str to str
        Upstream to `closed`, `open` or `half_open`.
    waiting : dict of str to int
        Upstream to requests waiting for one of its places.
    """

    active: int
    repeats: int
    denied: int
    breakers: dict[str, str]
    waiting: dict[str, int]


class Dispatcher:
    """Sends requests to upstreams, with repeats, fallbacks, breakers and deadlines.

    Parameters
    ----------
    upstreams : mapping of str to Upstream
        Those that exist; a candidate that is missing here (an engine that is not installed) is
        passed over.
    configs : mapping of str to UpstreamConfig
        At least those of `upstreams`.
    clock : Clock
    rng : random.Random
        Draws delays and open times.
    answer_bytes : int
        Longest body that is held before anything is shown.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        configs: Mapping[str, UpstreamConfig],
        *,
        clock: Clock,
        rng: Random,
        answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._answer_bytes = answer_bytes
        self._budgets: dict[str, RetryBudget] = {}
        self._lanes: dict[str, Lane] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.replace(upstreams, configs)

    def replace(
        self, upstreams: Mapping[str, Upstream], configs: Mapping[str, UpstreamConfig]
    ) -> None:
        """Use other upstreams from the next attempt on.

        One whose configuration is unchanged keeps its breaker and its gate; attempts under way
        keep theirs.
        """
        old = self._lanes
        self._lanes = {}
        for name, upstream in upstreams.items():
            config = configs[name]
            if name in old and old[name].config == config:
                breaker, gate = old[name].breaker, old[name].gate
            else:
                breaker = Breaker(self._clock, self._rng)
                gate = upstream_gate(config, self._clock)
            self._lanes[name] = Lane(name, config, upstream, breaker, gate)

    async def run(self, plan: Plan, call: Call, outcome: Outcome) -> Answer:
        """Return the first answer worth showing; nothing reached the client before.

        A connect-phase error is repeated at the same upstream while the route's `retry.attempts`
        allow it; any other fault goes on to the next candidate. With none left, the same
        upstream is tried again if it asked for that (`Retry-After` of a 429 or 503 that fits the
        deadline), or, once, if it went away without a byte of an answer. A refused key
        (`upstream_auth`) ends the request. `timeouts.total` bounds everything together;
        `timeouts.first_token` bounds each attempt of a stream up to its first content, and does
        not apply to plain answers, which arrive whole.

        Parameters
        ----------
        plan : Plan
        call : Call
        outcome : Outcome
            Gets every attempt as it starts, also when this call is cancelled: then the attempt
            under way ends as `client_closed`, and its breaker is told nothing.

        Raises
        ------
        RouteExhausted
            No attempt succeeded.
        """
        route = plan.route
        budget = self._budgets.get(route.name)
        if budget is None:
            budget = self._budgets[route.name] = RetryBudget()
        deadline_s = self._clock.monotonic() + route.timeouts.total
        trip = Trip(plan, call, outcome, budget, deadline_s)
        budget.enter()
        try:
            step = self._next_candidate(trip) or self._force(trip)
            while step is not None:
                lane, epoch = step
                try:
                    return await self._attempt(trip, lane, epoch)
                except UpstreamFault as fault:
                    trip.faults.append(fault)
                    if self._is_final(trip, fault):
                        break
                    step = await self._next(trip, lane, fault)
            raise self._exhausted(trip)
        except BaseException:
            trip.close()
            raise

    def statistics(self) -> DispatchStatistics:
        """Return the numbers of all routes together."""
        budgets = self._budgets.values()
        return DispatchStatistics(
            active=sum(budget.active for budget in budgets),
            repeats=sum(budget.repeats for budget in budgets),
            denied=sum(budget.denied for budget in budgets),
            breakers={name: lane.breaker.state.phase.value for name, lane in self._lanes.items()},
            waiting={name: lane.gate.statistics().waiting for name, lane in self._lanes.items()},
        )

    def _is_final(self, trip: Trip, fault: UpstreamFault) -> bool:
        """Say whether a fault ends the request, whatever else could be tried."""
        if fault.reason in _FINAL or self._left_s(trip) <= 0:
            return True
        # What an upstream may have begun to do, and must not do twice, is not asked for again.
        return fault.sent and not trip.call.repeatable

    async def _next(self, trip: Trip, lane: Lane, fault: UpstreamFault) -> tuple[Lane, int] | None:
        """Return where to try after a fault, with the epoch to report with; None is nowhere."""
        delay_s = self._delay_s(trip, fault)
        if delay_s is not None and trip.take_permit():
            trip.resent = trip.resent or not fault.connect_phase
            started_s = self._clock.monotonic()
            try:
                await asyncio.sleep(delay_s)
            finally:
                trip.outcome.upstream_s += self._clock.monotonic() - started_s
            epoch = lane.breaker.admit()
            if epoch is not None:
                return lane, epoch
        step = self._next_candidate(trip)
        # Leaving an upstream that took nothing, because it is full, adds no load anywhere.
        spared = fault.reason is Reason.UPSTREAM_BUSY
        if step is None or spared or self._may_fall_back(trip, lane, step[0]):
            return step
        step[0].breaker.record(step[1], Effect.NOTHING)
        return None

    def _next_candidate(self, trip: Trip) -> tuple[Lane, int] | None:
        candidates = trip.plan.candidates
        while trip.position < len(candidates):
            lane = self._lanes.get(candidates[trip.position])
            trip.position += 1
            if lane is None or not trip.call.suits(lane.config):
                continue
            epoch = lane.breaker.admit()
            if epoch is not None:
                return lane, epoch
        return None

    def _force(self, trip: Trip) -> tuple[Lane, int] | None:
        """Return the upstream that reopens first: shutting out the last one helps nobody.

        An embedded engine is never forced: a process that crashed needs its pause.
        """
        lanes = [lane for lane in self._known(trip) if lane.config.engine is None]
        if not lanes:
            return None
        trip.forced = True
        lane = min(lanes, key=lambda lane: lane.breaker.state.retry_at_s)
        return lane, lane.breaker.state.epoch

    def _may_fall_back(self, trip: Trip, failed: Lane, target: Lane) -> bool:
        """Say whether a request may move on, taking a permit where that is a repeat.

        Leaving an upstream that fails all its requests for one that is sound needs no permit: a
        moment later its breaker is open and requests go there first, which adds no load either.
        """
        if failed.breaker.is_suspect and not target.breaker.is_suspect:
            return True
        return trip.take_permit()

    def _delay_s(self, trip: Trip, fault: UpstreamFault) -> float | None:
        """Return how long to wait before the same upstream is tried again, None for not at all."""
        tries = len(trip.faults)
        if trip.forced or tries >= trip.route.retry.attempts:
            return None
        cap_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2.0 ** (tries - 1))
        delay_s = self._rng.random() * cap_s
        if not fault.connect_phase:
            if self._has_more(trip):
                return None
            asked = fault.reason is Reason.UPSTREAM_LIMITED or fault.status == 503
            vanished = fault.reason is Reason.UPSTREAM_UNREACHABLE and not trip.was_answered
            if asked and fault.retry_after_s is not None:
                # The jitter comes on top, so that all who were told the same do not come at once.
                delay_s += max(0.0, fault.retry_after_s)
            elif not vanished or trip.resent:
                return None
        return delay_s if delay_s < self._left_s(trip) else None

    def _has_more(self, trip: Trip) -> bool:
        names = trip.plan.candidates[trip.position :]
        lanes = (self._lanes.get(name) for name in names)
        suits = trip.call.suits
        return any(
            lane is not None and lane.breaker.is_ready and suits(lane.config) for lane in lanes
        )

    async def _attempt(self, trip: Trip, lane: Lane, epoch: int) -> Answer:
        """Try one upstream; the attempt has ended, or the answer is committed, on return."""
        clock = self._clock
        attempts = trip.outcome.attempts
        attempt = AttemptResult(len(attempts) + 1, lane.name, clock.now_us(), clock.monotonic())
        attempts.append(attempt)
        answer = Answer(trip.call.new_tap(lane.config), lane, attempt, epoch, trip, clock)
        reason: Reason | None = Reason.INTERNAL
        try:
            await self._receive(answer)
            reason = Reason.UPSTREAM_REJECTED if answer.tap.is_client_error else None
        except UpstreamFault as fault:
            reason = fault.reason
            attempt.status = fault.status if fault.status is not None else attempt.status
            raise
        except asyncio.CancelledError:
            reason = Reason.CLIENT_CLOSED
            raise
        except Exception as error:
            # The request's body could not be read: who reads it says why.
            found = getattr(error, "reason", None)
            reason = found if isinstance(found, Reason) else Reason.INTERNAL
            raise
        finally:
            if reason is not None or answer.complete:
                answer.settle(reason)
        if not answer.complete:
            attempt.ttft_s = clock.monotonic() - attempt.started_s
            lane.breaker.commit(epoch)
        return answer

    async def _receive(self, answer: Answer) -> None:
        """Send, and read to the commit point or to the judged end, whatever comes first."""
        tap, lane, trip = answer.tap, answer.lane, answer.trip
        timeouts = trip.plan.route.timeouts
        left_s = trip.deadline_s - answer.attempt.started_s
        if tap.stream:
            left_s = min(left_s, timeouts.first_token)
        if not lane.gate.try_enter():
            # Outside of the deadline: that nobody had room here in time is no upstream's fault.
            await wait_for_upstream(lane.gate, lane.config, min(timeouts.connect, left_s))
            left_s -= self._clock.monotonic() - answer.attempt.started_s
        answer.entered = True
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        try:
            with Deadline(loop, left_s):
                response = await lane.upstream.send(
                    trip.call.request_for(lane.config),
                    connect_timeout_s=min(timeouts.connect, left_s),
                )
                answer.response = response
                answer.status = answer.attempt.status = response.status
                answer.headers = response.headers
                tap.head(response.status, response.headers)
                if response.status == 101:
                    return  # What follows is no body.
                chunks, size_bytes = answer.chunks, 0
                while chunk := await response.read():
                    size_bytes += len(chunk)
                    if size_bytes > self._answer_bytes:
                        raise self._too_long(response)
                    chunks.append(chunk)
                    if tap.feed(chunk):
                        return
                tap.end()
                answer.complete = True
        except TimeoutError as error:
            message = f"no answer within {left_s:.3g} s"
            raise UpstreamFault(message, reason=Reason.UPSTREAM_TIMEOUT) from error

    def _too_long(self, response: UpstreamResponse) -> UpstreamFault:
        return UpstreamFault(
            f"the answer is longer than {self._answer_bytes} bytes",
            reason=Reason.UPSTREAM_INVALID,
            status=response.status,
        )

    def _left_s(self, trip: Trip) -> float:
        return trip.deadline_s - self._clock.monotonic()

    def _known(self, trip: Trip) -> list[Lane]:
        lanes = (self._lanes.get(name) for name in trip.plan.candidates)
        return [lane for lane in lanes if lane is not None and trip.call.suits(lane.config)]

    def _exhausted(self, trip: Trip) -> RouteExhausted:
        known = self._known(trip)
        reopen_at_s = [lane.breaker.state.retry_at_s for lane in known]
        return exhausted(
            trip.route.name,
            trip.faults,
            trip.outcome.attempts,
            reopens_in_s=min(reopen_at_s) - self._clock.monotonic() if reopen_at_s else None,
            budget_spent=trip.denied,
            unsuited=not known and any(name in self._lanes for name in trip.plan.candidates),
        )
