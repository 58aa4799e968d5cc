"""Keeps requests away from an upstream that fails.

    closed ──5 faults in a row, or < 80 % success over 30 s with ≥ 20 requests──▶ open
    open ──after 5 s, doubling to 300 s, with jitter──▶ half open: one real request, the probe
    half open ──success──▶ closed;  ──fault──▶ open, for longer

The transitions are pure functions of a frozen state; time and random draws are passed in.
"""

from enum import StrEnum
from random import Random
from typing import NamedTuple

from router.clock import Clock
from router.errors import Reason

_SLOTS = 10
"""Parts of the sliding window; it slides by one part at a time."""


class Phase(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Effect(StrEnum):
    """What an attempt says about its upstream."""

    SUCCESS = "success"
    FAULT = "fault"
    LIMITED = "limited"
    NOTHING = "nothing"


class Policy(NamedTuple):
    """When a breaker opens and for how long; see the module's docstring."""

    faults_in_a_row: int = 5
    min_success: float = 0.8
    window_s: float = 30.0
    min_requests: int = 20
    open_s: float = 5.0
    max_open_s: float = 300.0
    jitter: float = 0.2  # share of the open time that is drawn
    suspect_faults: int = 3


class Slot(NamedTuple):
    """Results of one part of the window."""

    number: int
    good: int
    bad: int


class State(NamedTuple):
    """A breaker at a moment.

    Attributes
    ----------
    epoch : int
        Grows with every transition: a result counts only in the epoch its request began in.
    faults_in_a_row : int
    openings : int
        How often it opened since it last worked while closed; doubles the open time.
    retry_at_s : float
        When the next probe may start. While half open: when the probe counts as lost.
    window : tuple of Slot
        Oldest first.
    """

    phase: Phase = Phase.CLOSED
    epoch: int = 0
    faults_in_a_row: int = 0
    openings: int = 0
    retry_at_s: float = 0.0
    window: tuple[Slot, ...] = ()


CLOSED = State()
DEFAULT_POLICY = Policy()

_FAULTS = frozenset(
    {
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_TIMEOUT,
        Reason.UPSTREAM_INVALID,
        Reason.UPSTREAM_ERROR,
        Reason.STREAM_INTERRUPTED,
        Reason.STREAM_TIMEOUT,
    }
)


def effect_of(reason: Reason | None) -> Effect:
    """Return what an attempt's end says about its upstream.

    The caller's errors, a refused key (configuration), a client that left and a full queue of our
    own say nothing. Neither does a 429 while the breaker is closed: the upstream works and asks for
    less, and ejecting it would push its whole load onto the next one. As the answer to a
    probe it is no success, though, and the breaker stays open.
    """
    if reason is None:
        return Effect.SUCCESS
    if reason in _FAULTS:
        return Effect.FAULT
    return Effect.LIMITED if reason is Reason.UPSTREAM_LIMITED else Effect.NOTHING


def admit(state: State, now_s: float, policy: Policy = DEFAULT_POLICY) -> State | None:
    """Return the state after letting a request pass, None when it may not.

    A closed breaker admits without a change. An open one whose time is over becomes half open
    and admits that request alone, its probe.
    """
    if state.phase is Phase.CLOSED:
        return state
    if now_s < state.retry_at_s:
        return None
    # A probe that never reports must not shut the upstream out for ever.
    lost_at_s = now_s + policy.max_open_s
    return state._replace(phase=Phase.HALF_OPEN, epoch=state.epoch + 1, retry_at_s=lost_at_s)


def record(
    state: State,
    effect: Effect,
    now_s: float,
    draw: float,
    policy: Policy = DEFAULT_POLICY,
) -> State:
    """Return the state after a result of this state's epoch.

    Parameters
    ----------
    draw : float
        Random, in [0, 1): shortens the open time by up to `policy.jitter`.
    """
    if state.phase is Phase.CLOSED:
        return _record_closed(state, effect, now_s, draw, policy)
    if effect is Effect.SUCCESS:
        return State(epoch=state.epoch + 1, openings=state.openings)
    if state.phase is Phase.OPEN:
        return state
    if effect is Effect.NOTHING:
        return state._replace(phase=Phase.OPEN, epoch=state.epoch + 1, retry_at_s=now_s)
    return _opened(state, now_s, draw, policy)


def is_suspect(state: State, policy: Policy = DEFAULT_POLICY) -> bool:
    """Say whether an upstream is failing now, or about to be found so."""
    return state.phase is not Phase.CLOSED or state.faults_in_a_row >= policy.suspect_faults


def _record_closed(
    state: State, effect: Effect, now_s: float, draw: float, policy: Policy
) -> State:
    if effect is Effect.SUCCESS:
        window = _counted(state.window, now_s, 1, 0, policy)
        return State(epoch=state.epoch, window=window)
    if effect is not Effect.FAULT:
        return state
    window = _counted(state.window, now_s, 0, 1, policy)
    good, bad = sum(slot.good for slot in window), sum(slot.bad for slot in window)
    in_a_row = state.faults_in_a_row + 1
    too_few = good + bad >= policy.min_requests and good < policy.min_success * (good + bad)
    if in_a_row >= policy.faults_in_a_row or too_few:
        return _opened(state, now_s, draw, policy)
    return state._replace(faults_in_a_row=in_a_row, window=window)


def _opened(state: State, now_s: float, draw: float, policy: Policy) -> State:
    # The exponent is bounded, else an outage of weeks overflows the float.
    base_s = min(policy.max_open_s, policy.open_s * 2.0 ** min(state.openings, 32))
    retry_at_s = now_s + base_s * (1.0 - policy.jitter * draw)
    return State(Phase.OPEN, state.epoch + 1, 0, state.openings + 1, retry_at_s)


def _counted(
    window: tuple[Slot, ...], now_s: float, good: int, bad: int, policy: Policy
) -> tuple[Slot, ...]:
    number = _slot_of(now_s, policy)
    kept = tuple(slot for slot in window if slot.number > number - _SLOTS)
    return _joined(kept, Slot(number, good, bad))


def _joined(window: tuple[Slot, ...], last: Slot) -> tuple[Slot, ...]:
    """Return the window with a slot's counts added at its end."""
    if window and window[-1].number == last.number:
        good, bad = window[-1].good + last.good, window[-1].bad + last.bad
        return (*window[:-1], Slot(last.number, good, bad))
    return (*window, last)


def _slot_of(now_s: float, policy: Policy) -> int:
    return int(now_s * _SLOTS / policy.window_s)


class Breaker:
    """Holds one upstream's state."""

    __slots__ = ("_clock", "_good", "_policy", "_rng", "_slot", "_state")

    def __init__(self, clock: Clock, rng: Random, policy: Policy = DEFAULT_POLICY) -> None:
        self._state = CLOSED
        self._slot = -1
        self._good = 0  # successes of the slot that the state does not hold yet
        self._clock = clock
        self._rng = rng
        self._policy = policy

    @property
    def state(self) -> State:
        """Return the state of this moment."""
        if self._good:
            last = Slot(self._slot, self._good, 0)
            self._state = self._state._replace(window=_joined(self._state.window, last))
            self._good = 0
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state, self._slot, self._good = state, -1, 0

    def admit(self) -> int | None:
        """Return the epoch to report with, None when the request may not pass."""
        state = self._state
        if state.phase is Phase.CLOSED:
            return state.epoch
        admitted = admit(state, self._clock.monotonic(), self._policy)
        if admitted is None:
            return None
        self._state = admitted
        return admitted.epoch

    def record(self, epoch: int, effect: Effect) -> None:
        """Take a result; one of an earlier epoch says nothing about now."""
        state = self._state
        if epoch != state.epoch:
            return
        now_s = self._clock.monotonic()
        if effect is Effect.SUCCESS and state.phase is Phase.CLOSED:
            slot = _slot_of(now_s, self._policy)
            # One success after another only counts, which needs no state of its own.
            if slot == self._slot and not state.faults_in_a_row and not state.openings:
                self._good += 1
                return
            self._slot = slot
        draw = 0.0 if effect is Effect.SUCCESS else self._rng.random()
        self._state = record(self.state, effect, now_s, draw, self._policy)

    def commit(self, epoch: int) -> None:
        """Close for a probe whose stream has begun to answer: that may go on for minutes.

        While closed nothing happens; the end of the stream is its result.
        """
        if self._state.phase is not Phase.CLOSED:
            self.record(epoch, Effect.SUCCESS)

    @property
    def is_ready(self) -> bool:
        """Say whether a request would pass now."""
        return admit(self.state, self._clock.monotonic(), self._policy) is not None

    @property
    def is_suspect(self) -> bool:
        """Say whether the upstream is failing now, or about to be found so."""
        return is_suspect(self.state, self._policy)
