import threading

import pytest

from gateway.loops import WorkLoop
from storage.errors import DatabaseFailed


def test_turns_follow_each_other() -> None:
    """The function is called again and again, until the loop is stopped."""
    turns, third = [0], threading.Event()

    def turn() -> float:
        turns[0] += 1
        if turns[0] == 3:
            third.set()
        return 0.0

    loop = WorkLoop("test", turn)
    loop.start()
    assert third.wait(5)
    assert loop.stop(5.0)
    after = turns[0]
    assert not threading.Event().wait(0.02)
    assert turns[0] == after


def test_failed_turn_is_counted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A turn that raises is logged with its traceback; the next one comes after a while."""
    turns, done = [0], threading.Event()

    def turn() -> float:
        turns[0] += 1
        if turns[0] == 1:
            raise ZeroDivisionError
        done.set()
        return 60.0

    loop = WorkLoop("drift", turn, error_wait_s=0.01)
    loop.start()
    assert done.wait(5)
    assert loop.stop(5.0)
    assert loop.failures == 1
    assert "drift failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_trouble_with_storage_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """A database that is opened anew is no fault of the loop: no traceback every second."""
    turns, done = [0], threading.Event()

    def turn() -> float:
        turns[0] += 1
        if turns[0] == 1:
            raise DatabaseFailed("the file is being opened anew")
        done.set()
        return 60.0

    loop = WorkLoop("housekeeping", turn, error_wait_s=0.01)
    loop.start()
    assert done.wait(5)
    assert loop.stop(5.0)
    assert loop.failures == 1
    assert "housekeeping failed; trying again in 0 s: the file is being" in caplog.text
    assert "Traceback" not in caplog.text


def test_wake_cuts_the_wait() -> None:
    """A loop that waits for a minute goes on at once when it is woken."""
    turns: list[int] = []
    seen = threading.Semaphore(0)

    def turn() -> float:
        turns.append(1)
        seen.release()
        return 60.0

    loop = WorkLoop("test", turn)
    loop.start()
    assert seen.acquire(timeout=5)
    loop.wake()
    assert seen.acquire(timeout=5)
    assert loop.stop(5.0)


def test_turn_that_does_not_end_is_told() -> None:
    """Stopping waits for the turn under way, and says when that took too long."""
    started, release = threading.Event(), threading.Event()

    def turn() -> float:
        started.set()
        release.wait(10)
        return 0.0

    loop = WorkLoop("test", turn)
    loop.start()
    assert started.wait(5)
    assert not loop.stop(0.05)
    release.set()
    assert loop.stop(5.0)


def test_stop_before_start_is_harmless() -> None:
    """A loop that never ran is stopped at once."""
    assert WorkLoop("test", lambda: 0.0).stop(1.0)
