"""The spool against a disk that fails in every way: what was acknowledged is what is read."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.faulty_disk import FaultyDisk, examples

from storage.config import RecordConfig
from storage.errors import SpoolUnavailable
from storage.frames import FrameKind, decode_begin, decode_end, decode_stats
from storage.records import Begin, End, Payload, Prediction, WorkerStats
from storage.segments import list_segments, read_frames
from storage.spool import Spool

QUOTA = 1 << 20
SECOND = 1_000_000
SIZES = st.sampled_from([0, 1, 300, 5_000, 70_000])
KINDS = ["begin", "end", "finish", "feedback", "stats"]
COUNTED = {"end", "feedback"}


class Read:
    """All frames of a directory, and what was passed over to get them."""

    def __init__(self, directory: Path) -> None:
        self.names: list[tuple[str, str]] = []
        self.bare = 0
        self.damaged_bytes = 0
        for segment in list_segments(directory):
            found = read_frames(segment.path, 0, 1 << 30)
            self.damaged_bytes += found.skipped_bytes + found.unread_bytes
            for frame in found.frames:
                self._take(frame.kind, frame.payload)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == FrameKind.BEGIN:
            self.names.append(("begin", decode_begin(payload).id))
        elif kind == FrameKind.END:
            end = decode_end(payload)
            self.names.append(("end", end.prediction.id))
            self.bare += end.payload is None
        elif kind == FrameKind.STATS:
            self.names.append(("stats", decode_stats(payload).worker))
        elif kind == FrameKind.FEEDBACK:
            self.names.append(("feedback", payload.decode()))


class SpoolMachine(RuleBasedStateMachine):
    """Requests in turns, faults between them; the model is the list of acknowledged frames."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory()
        self.directory = Path(self._home.name)
        self.disk = FaultyDisk()
        self.now = 1_800_000_000 * SECOND
        self.logged: list[tuple[str, str]] = []
        self.begun: list[str] = []
        self.count = self.lost = self.unlogged = 0
        self.policy = ""

    @initialize(policy=st.sampled_from(["fail_open", "fail_closed"]))
    def open(self, policy: str) -> None:
        self.policy = policy
        config = RecordConfig.model_validate(
            {
                "on_full": policy,
                "segment_bytes": 65_536,
                "segment_age_s": 60.0,
                "spool_bytes": QUOTA,
            }
        )
        self.spool = Spool.open(
            self.directory, worker="w0", config=config, now_us=lambda: self.now, disk=self.disk
        )

    @rule(kinds=st.lists(st.tuples(st.sampled_from(KINDS), SIZES), max_size=5))
    def turn(self, kinds: list[tuple[str, int]]) -> None:
        """One loop turn: some records and their write."""
        was_spent = self.spool.statistics().quota_share >= 1.0
        names = [self._queue(kind, size) for kind, size in kinds]
        is_logged = self._flushed()
        read = Read(self.directory).names
        assert read[: len(self.logged)] == self.logged
        new = read[len(self.logged) :]
        kept = set(new)
        assert new == [name for name in names if name in kept]
        if names:
            assert is_logged == (names[-1] in kept)
        lost = [kind for kind, name in names if (kind, name) not in kept]
        self.lost += len(lost)
        self.unlogged += sum(kind in COUNTED for kind in lost)
        if was_spent:
            assert "feedback" not in {kind for kind, _ in new}
            begun = {("end", name) for kind, name in self.logged if kind == "begin"}
            assert (
                self.policy == "fail_closed"
                or {(kind, name) for kind, name in new if kind != "stats"} <= begun
            )  # The end of what was begun is still taken.
        self.logged = read

    @rule(room=st.integers(0, 3_000))
    def fill_disk(self, room: int) -> None:
        self.disk.room_bytes = room

    @rule(size=st.integers(1, 400))
    def stop_write(self, size: int) -> None:
        self.disk.short_bytes = size

    @rule(count=st.integers(1, 3))
    def break_writes(self, count: int) -> None:
        self.disk.broken_writes = count

    @rule()
    def break_cuts(self) -> None:
        self.disk.can_cut = False

    @rule()
    def break_creation(self) -> None:
        self.disk.can_create = False

    @rule()
    def refuse_space(self) -> None:
        self.disk.can_allocate = False

    @rule()
    def heal(self) -> None:
        """Make the disk well again, and let the second pass after which it is tried."""
        self.disk.heal()
        self.now += SECOND

    @rule(step_s=st.sampled_from([-4_000, -2, -1, 0, 1, 59, 61, 4_000]))
    def move_clock(self, step_s: int) -> None:
        self.now += step_s * SECOND

    @rule(unread=st.sampled_from([0, QUOTA // 2, QUOTA * 3 // 4, QUOTA - 1, QUOTA, 2 * QUOTA]))
    def measure(self, unread: int) -> None:
        """Tell how much waits for the ingest."""
        self.spool.set_unread(unread)

    @precondition(lambda self: self.disk.is_sound)
    @rule()
    def recover(self) -> None:
        """On a sound disk all is well after two seconds, but for what the quota refuses."""
        for _ in range(2):
            self.now += SECOND
            self.turn([("stats", 0)])
        before = self.lost
        self.turn([("begin", 0), ("end", 300)])
        is_spent = self.spool.statistics().quota_share >= 1.0
        assert self.lost - before == (2 if is_spent and self.policy == "fail_open" else 0)
        assert self.spool.available is (self.policy == "fail_open" or not is_spent)
        assert not self.spool.statistics().full

    @invariant()
    def counts(self) -> None:
        """Compare the counters with what the audit finds."""
        if not self.policy:
            return
        statistics = self.spool.statistics()
        assert statistics.written_frames == len(self.logged)
        assert (statistics.lost_frames, statistics.unlogged) == (self.lost, self.unlogged)
        assert statistics.queued_frames == 0

    def teardown(self) -> None:
        if self.policy:
            self.spool.close()
            read = Read(self.directory)
            assert read.names == self.logged
            ends = sum(kind == "end" for kind, _ in self.logged)
            assert read.bare <= min(ends, self.spool.statistics().payloads_dropped)
            if not self.disk.was_uncut:
                assert read.damaged_bytes == 0
        self._home.cleanup()

    def _queue(self, kind: str, size: int) -> tuple[str, str]:
        self.count += 1
        name = f"{kind}-{self.count}"
        if kind == "finish":
            kind, name = "end", self.begun.pop() if self.begun else name
        if kind == "begin":
            self.begun.append(name)
            self.spool.begin(Begin(name, 5, "chat", "a", "u", "m", "openai", "chat", "t"))
        elif kind == "end":
            facts = Prediction(
                name, 5, "r", "a", "u", "m", "openai", "chat", "t", 200, 1.0, 1.0, 0.0
            )
            self.spool.end(End(facts, (), Payload(b"q" * size, b"a" * size)))
        elif kind == "stats":
            self.spool.stats(WorkerStats(name, 5))
        else:
            self.spool.feedback(name.encode())
        return kind, name

    def _flushed(self) -> bool:
        try:
            return self.spool.flush()
        except SpoolUnavailable:
            assert self.policy == "fail_closed"
            return False


@pytest.mark.timeout(120)
def test_what_is_acknowledged_is_what_is_read() -> None:
    """Short writes, full and failing disks, clocks that jump, quotas: nothing lost in silence."""
    run_state_machine_as_test(
        SpoolMachine,
        settings=settings(max_examples=examples(120), stateful_step_count=30, deadline=None),
    )
