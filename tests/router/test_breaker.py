from random import Random

import pytest
from support.virtual_time import ManualClock

from router.breaker import (
    CLOSED,
    DEFAULT_POLICY,
    Breaker,
    Effect,
    Phase,
    State,
    admit,
    effect_of,
    is_suspect,
    record,
)
from router.errors import Reason


def _after(effects: list[Effect], state: State = CLOSED, now_s: float = 0.0) -> State:
    for effect in effects:
        state = record(state, effect, now_s, 0.0)
    return state


def _open(now_s: float = 0.0) -> State:
    return _after([Effect.FAULT] * 5, now_s=now_s)


def _probing(state: State) -> State:
    admitted = admit(state, state.retry_at_s)
    assert admitted is not None
    return admitted


def test_five_faults_in_a_row_open_it() -> None:
    """Four do not, the fifth does."""
    assert _after([Effect.FAULT] * 4).phase is Phase.CLOSED
    assert _open().phase is Phase.OPEN


def test_a_success_between_faults_starts_the_count_again() -> None:
    """Only faults in a row count."""
    state = _after([Effect.FAULT] * 4 + [Effect.SUCCESS] + [Effect.FAULT] * 4)
    assert state.phase is Phase.CLOSED


def test_what_says_nothing_neither_counts_nor_resets() -> None:
    """A client's error between faults changes nothing at all."""
    faults = [Effect.FAULT, Effect.NOTHING, Effect.LIMITED] * 4
    assert _after(faults) == _after([Effect.FAULT] * 4)


def test_too_few_successes_open_it() -> None:
    """Every fourth failing is under 80 % success, once there are 20 requests."""
    pattern = [Effect.SUCCESS, Effect.SUCCESS, Effect.SUCCESS, Effect.FAULT]
    assert _after(pattern * 4 + pattern[:3]).phase is Phase.CLOSED
    assert _after(pattern * 5).phase is Phase.OPEN


def test_enough_successes_keep_it_closed() -> None:
    """Every fifth failing is exactly 80 % success, which is good enough."""
    state = CLOSED
    for number in range(200):
        state = _after([Effect.FAULT if number % 5 == 4 else Effect.SUCCESS], state)
        assert state.phase is Phase.CLOSED


def test_old_results_leave_the_window() -> None:
    """Faults of more than 30 s ago do not count any more."""
    pattern = [Effect.FAULT, Effect.FAULT, Effect.SUCCESS]
    old, more = _after(pattern * 6, now_s=0.0), [Effect.FAULT] * 2
    assert _after(more, old, now_s=10.0).phase is Phase.OPEN
    assert _after(more, old, now_s=40.0).phase is Phase.CLOSED


def test_the_window_is_bounded() -> None:
    """A long life keeps ten parts, no more."""
    state = CLOSED
    for second in range(1000):
        state = record(state, Effect.SUCCESS, float(second), 0.0)
    assert len(state.window) == 10


def test_an_open_breaker_admits_nothing_until_its_time() -> None:
    """5 s after opening, one request passes: the probe; the next does not."""
    state = _open(now_s=100.0)
    assert admit(state, 104.9) is None
    probing = admit(state, 105.0)
    assert probing is not None
    assert probing.phase is Phase.HALF_OPEN
    assert admit(probing, 105.1) is None


def test_a_probe_that_succeeds_closes_it() -> None:
    """The past is forgotten with it."""
    closed = _after([Effect.SUCCESS], _probing(_open()), now_s=5.0)
    assert (closed.phase, closed.faults_in_a_row, closed.window) == (Phase.CLOSED, 0, ())


@pytest.mark.parametrize("effect", [Effect.FAULT, Effect.LIMITED])
def test_a_probe_that_fails_opens_it_for_twice_as_long(effect: Effect) -> None:
    """A 429 is no success either: 5 s become 10 s."""
    state = _after([effect], _probing(_open()), now_s=5.0)
    assert (state.phase, state.retry_at_s) == (Phase.OPEN, 15.0)


def test_a_probe_that_says_nothing_leaves_its_place_to_the_next() -> None:
    """A client that left, or erred, was no probe."""
    state = _after([Effect.NOTHING], _probing(_open()), now_s=7.0)
    assert state.phase is Phase.OPEN
    assert admit(state, 7.0) is not None


def test_open_times_double_up_to_the_limit() -> None:
    """5, 10, 20, ... 300 s, and no further however long the outage is."""
    state, times = _open(), []
    for _ in range(2000):
        times.append(state.retry_at_s)
        state = _after([Effect.FAULT], _probing(state), now_s=0.0)
    assert times[:8] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert times[-1] == 300.0


def test_jitter_shortens_the_open_time_by_a_fifth_at_most() -> None:
    """A draw near 1 opens for 4 s in place of 5 s."""
    state = record(_after([Effect.FAULT] * 4), Effect.FAULT, 0.0, 0.999)
    assert state.retry_at_s == pytest.approx(4.0, abs=0.01)


def test_working_again_makes_the_next_open_time_short() -> None:
    """After a success while closed, doubling starts anew."""
    closed = _after([Effect.SUCCESS], _probing(_open()))
    assert _after([Effect.FAULT] * 5, closed).retry_at_s == 10.0
    assert _after([Effect.SUCCESS] + [Effect.FAULT] * 5, closed).retry_at_s == 5.0


def test_a_probe_that_never_reports_is_given_up() -> None:
    """After 300 s another one may start."""
    probing = _probing(_open())
    assert admit(probing, probing.retry_at_s - 1) is None
    assert admit(probing, probing.retry_at_s) is not None


def test_three_faults_in_a_row_make_it_suspect() -> None:
    """So does anything but closed."""
    assert not is_suspect(_after([Effect.FAULT] * 2))
    assert is_suspect(_after([Effect.FAULT] * 3))
    assert is_suspect(_open())
    assert is_suspect(_probing(_open()))


@pytest.mark.parametrize(
    ("reason", "effect"),
    [
        (None, Effect.SUCCESS),
        (Reason.UPSTREAM_UNREACHABLE, Effect.FAULT),
        (Reason.UPSTREAM_TIMEOUT, Effect.FAULT),
        (Reason.UPSTREAM_INVALID, Effect.FAULT),
        (Reason.UPSTREAM_ERROR, Effect.FAULT),
        (Reason.STREAM_INTERRUPTED, Effect.FAULT),
        (Reason.STREAM_TIMEOUT, Effect.FAULT),
        (Reason.UPSTREAM_LIMITED, Effect.LIMITED),
        (Reason.UPSTREAM_AUTH, Effect.NOTHING),
        (Reason.UPSTREAM_BUSY, Effect.NOTHING),
        (Reason.UPSTREAM_REJECTED, Effect.NOTHING),
        (Reason.CLIENT_CLOSED, Effect.NOTHING),
        (Reason.INTERNAL, Effect.NOTHING),
    ],
)
def test_only_the_upstreams_own_faults_count(reason: Reason | None, effect: Effect) -> None:
    """Clients, configuration and our own queue never trip a breaker."""
    assert effect_of(reason) is effect


def test_a_result_from_before_a_transition_does_not_count() -> None:
    """A stream that began before the outage and ends well does not close the breaker."""
    clock = ManualClock()
    breaker = Breaker(clock, Random(1))
    early = breaker.admit()
    assert early is not None
    for _ in range(5):
        breaker.record(early, Effect.FAULT)
    breaker.record(early, Effect.SUCCESS)
    assert breaker.state.phase is Phase.OPEN


def test_the_holder_lets_one_probe_pass() -> None:
    """Of many requests after the open time exactly one is admitted."""
    clock = ManualClock()
    breaker = Breaker(clock, Random(1))
    for _ in range(5):
        breaker.record(0, Effect.FAULT)
    clock.now_s += DEFAULT_POLICY.open_s
    assert breaker.is_ready
    assert sum(breaker.admit() is not None for _ in range(100)) == 1
    assert not breaker.is_ready


def test_a_committed_probe_closes_before_its_stream_ends() -> None:
    """The first content is proof enough; the end of that stream counts no more."""
    clock = ManualClock()
    breaker = Breaker(clock, Random(1))
    for _ in range(5):
        breaker.record(0, Effect.FAULT)
    clock.now_s += DEFAULT_POLICY.open_s
    epoch = breaker.admit()
    assert epoch is not None
    breaker.commit(epoch)
    closed = breaker.state
    breaker.record(epoch, Effect.FAULT)
    assert (closed.phase, breaker.state) == (Phase.CLOSED, closed)


def test_a_committed_stream_counts_nothing_while_closed() -> None:
    """Its end is its result: a success now would wipe out the faults before it."""
    breaker = Breaker(ManualClock(), Random(1))
    breaker.record(0, Effect.FAULT)
    before = breaker.state
    breaker.commit(0)
    assert breaker.state == before
