"""Recovery: whatever became of the segments, the table and the report of losses are right."""

import fcntl
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from support.empty_log import open_empty_log
from support.faulty_disk import examples
from support.log_records import NOW, begin_of, end_of, id_of, now_us, signals_of

from storage.database import FILE_NAME, Database
from storage.frames import (
    FRAME_HEAD_BYTES,
    HEADER_BYTES,
    FrameEncoder,
    FrameKind,
    Seal,
    SegmentHeader,
    encode_header,
)
from storage.ingest import Ingester, IngestOptions
from storage.records import SCHEMA_VERSION, WorkerStats
from storage.tailing import BatchLimits

REQUESTS = st.lists(st.sampled_from(["whole", "begun", "ended", "stats"]), max_size=8)
SPLITS = st.lists(st.booleans(), min_size=8, max_size=8)
DAMAGES = st.sampled_from(["none", "cut", "flip", "zeros", "garbage"])
ANYWHERE = st.integers(0, 1 << 20)


class Piece(NamedTuple):
    """A frame of a segment that is built here: what it says of which request, and where it is."""

    kind: FrameKind
    number: int
    start: int
    end: int


class Segment:
    """The bytes of a segment, and the frames that are still sound in them."""

    def __init__(self, source: str, number: int) -> None:
        first = (int.from_bytes(os.urandom(4), "little") + 1) << 24
        header = SegmentHeader(SCHEMA_VERSION, source, number, NOW, "w0", first)
        self.name = f"{source}-{number:06d}.seg"
        self.source, self.number = source, number
        self.data = bytearray(encode_header(header))
        self.pieces: list[Piece] = []
        self.lost_bytes = 0
        self._encoder = FrameEncoder(first)

    def add(self, kind: FrameKind, number: int) -> None:
        """Append a frame about a numbered request."""
        start = len(self.data)
        end = self._encoder.append(self.data, kind, self._record(kind, number))
        self.pieces.append(Piece(kind, number, start, end))

    def _record(self, kind: FrameKind, number: int) -> msgspec.Struct:
        match kind:
            case FrameKind.BEGIN:
                return begin_of(number)
            case FrameKind.END:
                return end_of(number)
            case FrameKind.SEAL:
                return Seal(NOW, len(self.pieces))
            case _:
                return WorkerStats("w0", NOW)

    def damage(self, how: str, where: int) -> None:
        """Do to the file what a crash, a disk or a hand may do."""
        if how == "cut":
            self.cut(where % (len(self.data) + 1))
        elif how == "flip":
            self._flip(where % len(self.data), 1 + where % 255)
        elif how in {"zeros", "garbage"}:
            size = 1 + where % (2 * FRAME_HEAD_BYTES)
            self.data += bytes(size) if how == "zeros" else os.urandom(size)
            self.lost_bytes = size

    def cut(self, size: int) -> None:
        """Leave a prefix."""
        del self.data[size:]
        self.pieces = [piece for piece in self.pieces if piece.end <= size]
        border = self.pieces[-1].end if self.pieces else HEADER_BYTES
        self.lost_bytes = size if size < HEADER_BYTES else size - border

    def _flip(self, at: int, mask: int) -> None:
        self.data[at] ^= mask
        hit = [piece for piece in self.pieces if piece.start <= at < piece.end]
        self.pieces = [piece for piece in self.pieces if piece not in hit]
        self.lost_bytes = sum(piece.end - piece.start for piece in hit)


class World:
    """One data directory for all examples, and what must be in its database."""

    def __init__(self, data_dir: Path) -> None:
        self.spool = data_dir / "spool"
        self.spool.mkdir()
        self.data_dir = data_dir
        self.numbers = itertools.count()
        self.rows: dict[str, str | None] = {}
        self.losses: list[tuple[str, int, int]] = []
        self.database = open_empty_log(data_dir)
        self.ingester = self.make()

    def make(self) -> Ingester:
        """Return a fresh ingester with small batches."""
        options = IngestOptions(batch=BatchLimits(records=7))
        return Ingester(
            self.database, self.spool, enrich=signals_of, now_us=now_us, options=options
        )

    def build(self, requests: Sequence[str], splits: Sequence[bool]) -> list[Segment]:
        """Return the segments of a new source."""
        order = next(self.numbers)
        source = f"w0-{order:x}-1"
        segments = [Segment(source, 0)]
        for request, is_split in zip(requests, splits, strict=False):
            number = next(self.numbers)
            if request == "stats":
                segments[-1].add(FrameKind.STATS, number)
            if request in {"whole", "begun"}:
                segments[-1].add(FrameKind.BEGIN, number)
            if is_split:
                segments[-1].add(FrameKind.SEAL, number)
                segments.append(Segment(source, len(segments)))
            if request in {"whole", "ended"}:
                segments[-1].add(FrameKind.END, number)
        return segments

    def expect(self, segments: Sequence[Segment]) -> None:
        """Note what a source that nobody writes any more must leave in the database."""
        pieces = [piece for segment in segments for piece in segment.pieces]
        for piece in pieces:
            if piece.kind == FrameKind.BEGIN:
                self.rows[id_of(piece.number)] = "interrupted"
        for piece in pieces:
            if piece.kind == FrameKind.END:
                self.rows[id_of(piece.number)] = None
        self.losses += [
            (segment.source, segment.number, segment.lost_bytes)
            for segment in segments
            if segment.lost_bytes
        ]

    def drain(self) -> None:
        """Ingest all there is."""
        while self.ingester.step().more:
            pass

    def check(self) -> None:
        """Compare the database with what it must hold: each row once, each loss once."""
        with self.database.cursor() as cursor:
            rows = cursor.execute("SELECT id::VARCHAR, reason FROM predictions").fetchall()
            losses = cursor.execute("SELECT source, segment, bytes FROM spool_losses").fetchall()
        assert sorted(rows) == sorted(self.rows.items())
        assert sorted(losses) == sorted(self.losses)

    def lose_database(self) -> None:
        """Go on with an empty file: all segments are read once more."""
        self.database.close()
        for path in self.data_dir.glob(f"{FILE_NAME}*"):
            path.unlink()
        self.database = Database.open(self.data_dir, now_us=now_us)
        self.ingester = self.make()


class RecoveryMachine(RuleBasedStateMachine):
    """Sources die and are damaged while the ingest reads, stops and starts."""

    world: ClassVar[World]

    @rule(requests=REQUESTS, splits=SPLITS, hit=st.integers(0, 8), how=DAMAGES, where=ANYWHERE)
    def find_dead(
        self, requests: list[str], splits: list[bool], hit: int, how: str, where: int
    ) -> None:
        """Find what a worker left that was killed, damaged in one of its segments."""
        segments = self.world.build(requests, splits)
        segments[hit % len(segments)].damage(how, where)
        self.world.expect(segments)
        for segment in segments:
            (self.world.spool / segment.name).write_bytes(segment.data)

    @rule(requests=REQUESTS, borders=st.lists(ANYWHERE, max_size=4), is_killed=st.booleans())
    def watch_living(self, requests: list[str], borders: list[int], is_killed: bool) -> None:  # noqa: FBT001  (drawn)
        """Read a segment while it grows by any bytes, until its writer ends or is killed."""
        (segment,) = self.world.build(requests, [False] * len(requests))
        if not is_killed:
            segment.add(FrameKind.SEAL, 0)
        data = bytes(segment.data)
        ends = sorted(HEADER_BYTES + at % (len(data) - HEADER_BYTES + 1) for at in borders)
        if not is_killed:
            ends.append(len(data))
        segment.cut(ends[-1] if ends else HEADER_BYTES)
        self.world.expect([segment])
        with (self.world.spool / segment.name).open("wb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            written = HEADER_BYTES
            file.write(data[:written])
            for end in ends:
                file.write(data[written:end])
                written = end
                losses = self.world.ingester.step().losses
                assert segment.source not in {loss.source for loss in losses}

    @rule()
    def step(self) -> None:
        """Commit a batch, wherever it ends."""
        self.world.ingester.step()

    @rule()
    def restart(self) -> None:
        """Start a fresh ingest: it has only what the database says."""
        self.world.ingester = self.world.make()

    @rule()
    def drain(self) -> None:
        """Ingest all, and compare."""
        self.world.drain()
        self.world.check()

    def teardown(self) -> None:
        self.drain()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give an empty data directory, closed at the end."""
    world = World(tmp_path)
    yield world
    world.database.close()


@pytest.mark.timeout(120)
def test_any_damage_gives_the_right_table_and_report(world: World) -> None:
    """Prefixes, torn and flipped bytes, restarts in between; then all of it replayed anew."""
    machine = type("Machine", (RecoveryMachine,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples(10), stateful_step_count=12, deadline=None),
    )
    world.lose_database()
    world.drain()
    world.check()
