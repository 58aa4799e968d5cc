"""The data plane's side of the spool: records go to an append-only file, once per loop turn.

What is written survives the death of the process, also by SIGKILL. Nothing here waits for the
database. A full disk costs the bodies first, then facts, and every loss is counted.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from storage.config import RecordConfig
from storage.disk import Disk
from storage.errors import SpoolUnavailable
from storage.frames import FrameKind
from storage.group_sync import GroupSync
from storage.records import Begin, End, WorkerStats
from storage.segment_log import Record, SegmentLog, source_name

QUEUE_BYTES = 8 << 20
"""Queued frames are written at once when they reach this size, without waiting for the turn."""

SYNC_DEADLINE_S = 0.05
"""Durability `disk`, `fail_open`: a slower sync is not waited for, but counted."""

SYNC_LIMIT_S = 5.0
"""Durability `disk`, `fail_closed`: a slower sync is a failure."""

_WORKER = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SpoolStatistics(NamedTuple):
    """Counters since the spool was opened, and sizes now.

    Attributes
    ----------
    queued_frames, queued_bytes, queue_limit_bytes : int
        Waiting for the end of the loop turn; bound of the bytes.
    written_frames, written_bytes, writes : int
        Frames in the log, their bytes, and the turns that wrote some.
    segments, segment_bytes : int
        Segments opened; size of the open one.
    unlogged : int
        Records (END, FEEDBACK) that are not in the log.
    lost_frames : int
        Frames of any type that are not in the log.
    payloads_dropped : int
        Records written without their bodies for lack of space.
    late_syncs, failed_syncs : int
        Acknowledged before they were on the disk; syncs that failed.
    full : bool
        The disk is full or failing: bodies are dropped until it recovers.
    reserve_bytes : int
        Space still held for facts.
    spare_bytes : int
        Space held behind the last frame for the next ones.
    unread_bytes : int
        Of all workers, not yet in the database.
    quota_share : float
        `unread_bytes` as a share of `record.spool_bytes`: bodies are dropped from 0.75 on, and
        from 1 on no new record is taken; 0 without a quota.
    """

    queued_frames: int
    queued_bytes: int
    queue_limit_bytes: int
    written_frames: int
    written_bytes: int
    writes: int
    segments: int
    segment_bytes: int
    unlogged: int
    lost_frames: int
    payloads_dropped: int
    late_syncs: int
    failed_syncs: int
    full: bool
    reserve_bytes: int
    spare_bytes: int
    unread_bytes: int
    quota_share: float


class Spool:
    """The log of one worker process; made by `open`, used on one event loop."""

    def __init__(self, log: SegmentLog, config: RecordConfig) -> None:
        self._log = log
        self._config = config
        self._waiters: list[tuple[int, asyncio.Future[bool]]] = []
        self._position = 0  # Frames queued so far.
        self._last_logged = True
        self._scheduled = False
        self._closed = False
        self._late_syncs = self._failed_syncs = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        worker: str,
        config: RecordConfig,
        now_us: Callable[[], int],
        disk: Disk | None = None,
    ) -> "Spool":
        """Open a new source in a directory, which is created.

        Parameters
        ----------
        directory : Path
            Of all workers' segments.
        worker : str
            Name of this worker: 1 to 64 of letters, digits, ".", "_", "-".
        config : RecordConfig
            Section `record`.
        now_us : callable
            `Clock.now_us`.
        disk : Disk, optional
            Another one than the machine's.

        Raises
        ------
        SpoolUnavailable
            The directory cannot be written to. A full disk is no such error: it may recover.
        ValueError
            The worker's name is none.
        """
        if _WORKER.fullmatch(worker) is None:
            raise ValueError(f"worker is `{worker}`; use 1 to 64 of letters, digits, `.`, `_`, `-`")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            source = source_name(directory, worker, now_us())
            disk = disk or Disk()
            log = SegmentLog(directory, source, config, now_us, disk)
            log.start()
        except OSError as error:
            raise SpoolUnavailable(
                f"cannot write to the log's directory {directory}: {error.strerror}; "
                "set `gateway.data_dir` to a directory that this user may write to"
            ) from error
        spool = cls(log, config)
        if config.durability == "disk":
            log.sync = GroupSync(directory, disk, lambda: log.segment, spool._on_failed_sync)
        return spool

    @property
    def available(self) -> bool:
        """Whether a model may be called: False under `fail_closed` while there is no room.

        Asking tries a full disk again, at most once a second.
        """
        if self._config.on_full == "fail_open":
            return True
        if self._closed:
            return False
        self._log.recover()
        return not (self._log.full or self._log.quota.spent)

    def set_unread(self, unread_bytes: int) -> None:
        """Take what `spool_level.SpoolLevel` measured, for the quota."""
        self._log.quota.measured(unread_bytes)

    def begin(self, record: Begin) -> None:
        """Queue a BEGIN frame."""
        self._append(FrameKind.BEGIN, record)

    def end(self, record: End) -> None:
        """Queue an END frame."""
        self._append(FrameKind.END, record)

    def stats(self, record: WorkerStats) -> None:
        """Queue a STATS frame."""
        self._append(FrameKind.STATS, record)

    def feedback(self, record: Record) -> None:
        """Queue a FEEDBACK frame; bytes are taken as they are."""
        self._append(FrameKind.FEEDBACK, record)

    async def flushed(self) -> bool:
        """Wait until all that is queued is written, with all others' frames of this loop turn.

        Returns
        -------
        bool
            Whether the frame queued last, before this call, is in the log. With durability `disk`
            it is on the disk, too, or the sync took longer than `SYNC_DEADLINE_S`.

        Raises
        ------
        SpoolUnavailable
            It is not, and the policy is `fail_closed`.
        """
        log = self._log
        if not log.queue and (log.sync is None or not self._last_logged or self._closed):
            return self._judged(logged=self._last_logged)
        future = (self._loop or asyncio.get_running_loop()).create_future()
        if log.queue:
            self._waiters.append((self._position, future))
            self._schedule()
        elif log.sync is not None:
            log.sync.wait_for([future])
        if log.sync is None:
            return self._judged(logged=await future)
        return self._judged(logged=await self._on_disk(future))

    def flush(self) -> bool:
        """Write all that is queued now; returns and raises as `flushed`, but waits for no sync."""
        self._write()
        return self._judged(logged=self._last_logged)

    def close(self) -> None:
        """Write what is queued and seal the segment; later records are counted as unlogged."""
        if self._closed:
            return
        self._write()
        self._closed = True
        if not self._log.close():
            self._failed_syncs += 1

    def statistics(self) -> SpoolStatistics:
        """Return counters and sizes."""
        log = self._log
        return SpoolStatistics(
            queued_frames=len(log.queue),
            queued_bytes=len(log.batch),
            queue_limit_bytes=QUEUE_BYTES,
            segment_bytes=0 if log.segment is None else log.segment.size_bytes,
            late_syncs=self._late_syncs,
            failed_syncs=self._failed_syncs,
            full=log.full,
            reserve_bytes=log.reserve.held_bytes,
            spare_bytes=0 if log.segment is None else log.segment.spare_bytes,
            unread_bytes=log.quota.unread_bytes,
            quota_share=log.quota.share,
            **log.counters()._asdict(),
        )

    def _append(self, kind: FrameKind, record: Record) -> None:
        log = self._log
        if self._closed or not log.take(kind, record):
            self._write()  # What was queued before keeps its own result.
            log.count_lost(kind)
            self._last_logged = False
            return
        self._position += 1
        if len(log.batch) >= QUEUE_BYTES:
            self._write()
        elif not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        loop = self._loop
        if loop is None:
            try:
                # Kept: in CPython 3.11 asking for the running loop is a system call.
                loop = self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # Without a loop, `flush` and `close` write.
        self._scheduled = True
        loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._scheduled = False
        self._write()

    def _write(self) -> None:
        log = self._log
        if not log.queue:
            return
        lost = log.write()
        self._last_logged = lost == 0
        waiters, self._waiters = self._waiters, []
        written = []
        for position, future in waiters:
            if future.done():
                continue
            if position > self._position - lost:
                future.set_result(False)
            else:
                written.append(future)
        if log.sync is not None and written:
            log.sync.wait_for(written)
            return
        for future in written:
            future.set_result(True)

    async def _on_disk(self, future: asyncio.Future[bool]) -> bool:
        """Wait for a sync as long as the policy wants; False if it failed."""
        is_strict = self._config.on_full == "fail_closed"
        try:
            async with asyncio.timeout(SYNC_LIMIT_S if is_strict else SYNC_DEADLINE_S):
                return await future
        except TimeoutError:
            self._late_syncs += 1
            return not is_strict

    def _on_failed_sync(self) -> None:
        self._failed_syncs += 1

    def _judged(self, *, logged: bool) -> bool:
        if not logged and self._config.on_full == "fail_closed":
            raise SpoolUnavailable(
                "the record is not in the log: the disk is full or failing, or the spool is as "
                "large as `record.spool_bytes`, and `record.on_full` is `fail_closed`; free space "
                "below `gateway.data_dir`, raise the bound, or set `fail_open`"
            )
        return logged
