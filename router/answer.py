"""An answer that may be shown to the client, and the end of the attempt that brought it."""

import msgspec

from router.breaker import Breaker, effect_of
from router.budget import RetryBudget
from router.clock import Clock
from router.concurrency import Gate
from router.config import RouteConfig, UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.outcome import AttemptResult, Call, Outcome, Tap
from router.plan import Plan
from router.upstream import Headers, Upstream, UpstreamResponse


class Lane(msgspec.Struct):
    """One upstream with its breaker and its gate."""

    name: str
    config: UpstreamConfig
    upstream: Upstream
    breaker: Breaker
    gate: Gate


class Trip(msgspec.Struct):
    """One request on its way along a plan.

    Attributes
    ----------
    deadline_s : float
        `Clock.monotonic` value at which the request must be over.
    position : int
        Index of the next candidate.
    repeats : bool
        A permit of the retry budget is held.
    denied : bool
        A permit was asked for in vain.
    resent : bool
        A request that may have reached an upstream was sent there once more.
    forced : bool
        Every breaker was open; the attempt is made all the same, once.
    """

    plan: Plan
    call: Call
    outcome: Outcome
    budget: RetryBudget
    deadline_s: float
    faults: list[UpstreamFault] = []
    position: int = 0
    repeats: bool = False
    denied: bool = False
    resent: bool = False
    forced: bool = False
    _over: bool = False

    @property
    def route(self) -> RouteConfig:
        """Return the plan's route."""
        return self.plan.route

    @property
    def was_answered(self) -> bool:
        """Say whether the newest attempt got as far as the head of an answer."""
        return self.outcome.attempts[-1].status is not None

    def take_permit(self) -> bool:
        """Say whether the budget lets this request repeat; one permit lasts to its end."""
        if not self.repeats:
            self.repeats = self.budget.try_repeat(self.route.retry.budget)
            self.denied = not self.repeats
        return self.repeats

    def close(self) -> None:
        """Leave the budget, once."""
        if not self._over:
            self._over = True
            self.budget.leave(repeated=self.repeats)


class Answer(msgspec.Struct):
    """The first answer worth showing: a committed stream, or a whole plain answer.

    The holder relays `chunks`, then reads `response` on unless `complete`, and calls `finish`
    whatever happens.

    Attributes
    ----------
    status : int
        As the upstream sent it.
    chunks : list of bytes
        Body received so far.
    complete : bool
        The body has ended and was judged; nothing more is to be read.
    response : UpstreamResponse or None
        Open while the body goes on; None once it was given back.
    entered : bool
        A place at the upstream is held; `release` gives it back.
    fallback_from : str or None
        The plan's variant, when another upstream answered in its place.
    deadline_s : float
        `Clock.monotonic` value at which the whole request must be over: it bounds the rest too.
    """

    tap: Tap
    lane: Lane
    attempt: AttemptResult
    epoch: int
    trip: Trip
    clock: Clock
    status: int = 0
    headers: Headers = []
    chunks: list[bytes] = []
    complete: bool = False
    response: UpstreamResponse | None = None
    entered: bool = False
    _settled: bool = False

    @property
    def attempts(self) -> list[AttemptResult]:
        """Return all attempts of the request, this one last."""
        return self.trip.outcome.attempts

    @property
    def upstream(self) -> UpstreamConfig:
        """Return the configuration of the upstream that answered."""
        return self.lane.config

    @property
    def fallback_from(self) -> str | None:
        """Return the variant in whose place this upstream answered, if it is another."""
        variant = self.trip.plan.variant
        return variant if variant != self.attempt.upstream else None

    @property
    def deadline_s(self) -> float:
        """Return the total deadline."""
        return self.trip.deadline_s

    def finish(self, reason: Reason | None) -> None:
        """End the attempt and the request, and give the connection back.

        Idempotent; never raises, never awaits.

        Parameters
        ----------
        reason : Reason or None
            How the stream ended; None is well. A `complete` answer has ended already, so what
            happens afterwards (a client that leaves, say) is not its upstream's doing.
        """
        self.end(reason)
        self.release()

    def end(self, reason: Reason | None) -> None:
        """End the attempt and the request; the connection is kept until `release`."""
        self._judge(reason)
        self.trip.close()

    def settle(self, reason: Reason | None) -> None:
        """End the attempt alone: its record, its breaker, its connection."""
        self._judge(reason)
        self.release()

    def release(self) -> None:
        """Give connection and place back; it is closed if the body has not ended."""
        response, self.response = self.response, None
        if response is not None:
            response.release()
        if self.entered:
            self.entered = False
            self.lane.gate.leave()

    def _judge(self, reason: Reason | None) -> None:
        if self._settled:
            return
        self._settled = True
        attempt = self.attempt
        attempt.ended_s = self.clock.monotonic()
        attempt.reason = reason
        self.trip.outcome.upstream_s += attempt.ended_s - attempt.started_s
        self.lane.breaker.record(self.epoch, effect_of(reason))
