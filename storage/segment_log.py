"""The prediction log's segments as one place to write to: rotation, a full disk, the quota."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from storage.config import RecordConfig
from storage.disk import Disk, is_full
from storage.frames import MAX_FRAMES, FrameKind, encodable
from storage.group_sync import GroupSync
from storage.quota import Quota
from storage.records import Begin, End
from storage.segment_file import Reserve, SegmentFile

RETRY_US = 1_000_000
"""A full or failing disk is tried again after this time."""

_CLOCK_STEP_US = -1_000_000

Record = msgspec.Struct | bytes
_Queued = tuple[FrameKind, Record]
_COUNTED = frozenset({FrameKind.END, FrameKind.FEEDBACK})


class LogCounters(NamedTuple):
    """What became of the frames; `spool.SpoolStatistics` says what each number is."""

    written_frames: int
    written_bytes: int
    writes: int
    segments: int
    unlogged: int
    lost_frames: int
    payloads_dropped: int


class SegmentLog:
    """Queues frames and writes them to the open segment, or says how many it could not write.

    Attributes
    ----------
    full : bool
        The disk is full or failing: bodies are dropped until it recovers.
    segment : SegmentFile or None
        The open one; None while none could be created.
    reserve : Reserve
        Space for facts.
    quota : Quota
        What may wait for the database.
    batch : bytearray
        The queued frames.
    queue : list
        Their types and records, to be encoded again where the disk is full.
    """

    def __init__(
        self,
        directory: Path,
        source: str,
        config: RecordConfig,
        now_us: Callable[[], int],
        disk: Disk,
    ) -> None:
        self.full = False
        self.segment: SegmentFile | None = None
        self.reserve = Reserve(directory / f"{source}.reserve", disk)
        self.quota = Quota(config.spool_bytes)
        self.batch = bytearray()
        self.queue: list[_Queued] = []
        self.sync: GroupSync | None = None
        self._ends: list[int] = []
        self._batch_of: SegmentFile | None = None
        self._disk = disk
        self._directory = directory
        self._source = source
        self._is_open = config.on_full == "fail_open"
        self._begun: set[str] = set()
        self._segment_bytes = config.segment_bytes
        self._segment_age_us = int(config.segment_age_s * 1e6)
        self._now_us = now_us
        self._tried_at: int | None = None
        self._rotated_at: int | None = None  # The last time that it did not work.
        self._written_frames = self._written_bytes = self._writes = self._segments = 0
        self._unlogged = self._lost_frames = self._payloads_dropped = 0

    def start(self) -> None:
        """Open the first segment; on a full disk, start without.

        Raises
        ------
        OSError
            The directory cannot be written to.
        """
        try:
            self.segment = self._new_segment(self._now_us())
            self._segments = 1
        except OSError as error:
            if not is_full(error):
                raise
        self.full = not (self.segment is not None and self.reserve.fill())

    def take(self, kind: FrameKind, record: Record) -> bool:
        """Queue a frame; False if there is no room for it, or it has no encoding."""
        if self.quota.spent and not self._may_pass(kind, record):
            return False
        if self.full or self.segment is None or self.segment.broken:
            self.recover()
        segment = self.segment
        if segment is None:
            return False
        if self._batch_of is not segment and self.queue:
            self._encode_again(segment)
        self._batch_of = segment
        if self.full or self.quota.tight:
            record = self._without_bodies(record)
        try:
            end = segment.encoder.append(self.batch, kind, record)
        except (ValueError, OverflowError):
            # Lone surrogates, integers of more than 64 bits, or bodies beyond any limit.
            record = self._without_bodies(encodable(record))
            try:
                end = segment.encoder.append(self.batch, kind, record)
            except (ValueError, OverflowError):
                return False
        self._ends.append(end)
        self.queue.append((kind, record))
        if isinstance(record, Begin):
            self._begun.add(record.id)
        elif isinstance(record, End):
            self._begun.discard(record.prediction.id)
        return True

    def _may_pass(self, kind: FrameKind, record: Record) -> bool:
        """Say whether a frame is written beyond the quota: what was promised, and what reports."""
        if kind == FrameKind.FEEDBACK:
            return False
        if kind == FrameKind.STATS or not self._is_open:
            return True  # `fail_closed` refuses requests, not the facts of those under way.
        # Without its end, an answered request would be shown as interrupted.
        return isinstance(record, End) and record.prediction.id in self._begun

    def write(self) -> int:
        """Write what is queued and return how many frames, the last ones, are not in the log."""
        segment = self.segment
        rest = self.queue
        if segment is not None and not segment.broken:
            if segment is not self._batch_of:
                self._encode_again(segment)
            rest = rest[self._append(segment) :]
        self.queue = []
        self.batch.clear()
        self._ends.clear()
        if rest:
            rest = self._write_in_need(rest)
            for kind, _ in rest:
                self.count_lost(kind)
        if not self.full:
            self._rotate_if_due()
        return len(rest)

    def count_lost(self, kind: FrameKind) -> None:
        """Count a frame that is not in the log."""
        self._lost_frames += 1
        self._unlogged += kind in _COUNTED

    def recover(self) -> None:
        """Try a full or failing disk again, at most once in `RETRY_US`."""
        is_lame = self._is_lame()
        if not (self.full or is_lame):
            return
        now = self._now_us()
        if _is_recent(self._tried_at, now):
            return
        self._tried_at = now
        self.full = (is_lame and not self._open_next(now)) or not self.reserve.fill()

    def close(self) -> bool:
        """Seal and close; False if the last sync failed."""
        segment = self.segment
        if segment is not None and not segment.broken:
            segment.seal(self._now_us())
        synced = self.sync is None or self.sync.close()
        if segment is not None:
            segment.close()
        self.segment = None
        self.reserve.release()
        return synced

    def counters(self) -> LogCounters:
        """Return what became of the frames since the start."""
        return LogCounters(
            self._written_frames,
            self._written_bytes,
            self._writes,
            self._segments,
            self._unlogged,
            self._lost_frames,
            self._payloads_dropped,
        )

    def _append(self, segment: SegmentFile) -> int:
        before = segment.size_bytes
        whole = segment.append(self.batch, self._ends)
        size_bytes = segment.size_bytes - before
        self._written_frames += whole
        self._written_bytes += size_bytes
        self.quota.wrote(size_bytes)
        self._writes += 1
        return whole

    def _write_in_need(self, rest: list[_Queued]) -> list[_Queued]:
        """Write what the open segment did not take; return what is lost."""
        now = self._now_us()
        if not self.full and self._is_lame() and self._open_next(now):
            rest = self._write_again(rest)
            if not rest:
                return []
        self.full = True
        self._tried_at = now
        rest = self._write_again([(kind, self._without_bodies(record)) for kind, record in rest])
        if rest and self.reserve.release():
            if self._is_lame():
                self._open_next(now)
            rest = self._write_again(rest)
        return rest

    def _write_again(self, records: list[_Queued]) -> list[_Queued]:
        segment = self.segment
        if segment is None or segment.broken or not records:
            return records
        self.queue = records
        self._encode_again(segment)
        self.queue = []
        rest = records[self._append(segment) :]
        self.batch.clear()
        self._ends.clear()
        return rest

    def _encode_again(self, segment: SegmentFile) -> None:
        self.batch.clear()
        self._ends = [
            segment.encoder.append(self.batch, kind, record) for kind, record in self.queue
        ]
        self._batch_of = segment

    def _without_bodies(self, record: Record) -> Record:
        if not isinstance(record, End) or record.payload is None:
            return record
        self._payloads_dropped += 1
        return End(record.prediction, record.attempts)

    def _is_lame(self) -> bool:
        return self.segment is None or self.segment.broken

    def _rotate_if_due(self) -> None:
        segment = self.segment
        if segment is None or not segment.frames:
            return
        now = self._now_us()
        # A clock that went back would keep a segment open for as long as it was wrong.
        is_young = _CLOCK_STEP_US < now - segment.started_at < self._segment_age_us
        is_due = (
            segment.size_bytes >= self._segment_bytes
            or not is_young
            or segment.frames >= MAX_FRAMES // 2
        )
        if is_due and not _is_recent(self._rotated_at, now):
            self._open_next(now)

    def _new_segment(self, now: int) -> SegmentFile:
        return SegmentFile(
            self._directory,
            self._source,
            self._segments,
            now,
            disk=self._disk,
            room_bytes=self._segment_bytes,
        )

    def _open_next(self, now: int) -> bool:
        try:
            segment = self._new_segment(now)
        except OSError:
            self._rotated_at = now
            return False
        self._rotated_at = None
        old, self.segment = self.segment, segment
        self._segments += 1
        if old is not None:
            self._retire(old, now)
        return True

    def _retire(self, segment: SegmentFile, now: int) -> None:
        if not segment.broken:
            segment.seal(now)
        if self.sync is None:
            segment.close()
        else:
            self.sync.retire(segment)


def _is_recent(at: int | None, now: int) -> bool:
    return at is not None and 0 <= now - at < RETRY_US


def source_name(directory: Path, worker: str, started_at: int) -> str:
    """Return the name of a new source, unlike all in the directory."""
    while True:
        name = f"{worker}-{started_at:014x}-{os.getpid()}"
        if not any(directory.glob(f"{name}-*")):
            return name
        started_at += 1
