"""From the spool to the database, exactly once, whatever is killed when.

Every `step` is one transaction that holds the rows and how far the spool was read. After any
failure of the database the file is opened anew and the watermarks are read back: they alone say
whether the last batch is in.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from storage.database import Database
from storage.errors import DatabaseCorrupt, DatabaseFailed
from storage.lifecycle.tombstones import load_tombstones
from storage.records import SCHEMA_VERSION, End, Signals, WorkerStats
from storage.rollups.compaction import compact
from storage.segments import SegmentIndex, SegmentInfo, remove_segment
from storage.spool_level import MarkFile
from storage.tailing import BatchLimits, Harvest, SourceReader
from storage.watermarks import Watermark, drop_watermarks, load_watermarks
from storage.writer import Batch, Loss, append_batch

Enrich = Callable[[Sequence[End]], Sequence[Signals]]
OnBatch = Callable[[Sequence[End], Sequence[WorkerStats]], None]
NOTHING = Batch((), (), (), (), ())
_SAVE_US = 30_000_000


def always(_segment: SegmentInfo) -> bool:
    """Let every segment go that has been read and is old enough: nothing is archived from it."""
    return True


def nothing() -> None:
    """Restore nothing: what is lost with the file is read again from the segments."""


class IngestOptions(NamedTuple):
    """How the ingester behaves.

    Attributes
    ----------
    batch : BatchLimits
        Size of one transaction.
    grace_s : float
        A segment that is in the database is kept that long after its last write: what a damaged
        database is rebuilt from.
    checkpoint_bytes : int
        Size of the write-ahead log at which a batch is followed by a checkpoint.
    patience_s : float
        A segment that could not be read for so long is passed over, unless it is its source's
        last: that one may still be written.
    may_remove : callable
        Whether a segment that was read may go: what it holds is archived.
    restore : callable
        Called before the watermarks are read, so at the start and after the file was opened anew:
        fills an empty file from the archive.
    """

    batch: BatchLimits = BatchLimits()
    grace_s: float = 3600.0
    checkpoint_bytes: int = 64 * 1024 * 1024
    patience_s: float = 600.0
    may_remove: Callable[[SegmentInfo], bool] = always
    restore: Callable[[], object] = nothing


DEFAULT_OPTIONS = IngestOptions()


class IngestStep(NamedTuple):
    """What one step did.

    Attributes
    ----------
    records : int
        Rows added to `predictions`.
    interrupted : int
        Those of them whose process died before it answered.
    frames : int
        Frames read.
    lag_bytes : int
        Bytes of the spool that are not in the database.
    losses : tuple of Loss
        What was found torn, damaged or unfit.
    blocked : tuple of str
        Sources that a newer program writes; they are kept until this one is upgraded.
    unreadable : tuple of str
        Sources with a segment that the disk or its permissions do not give; the others go on.
    failed : str or None
        Why nothing was written; the database has been opened anew, call again.
    more : bool
        True when the batch was full: call again at once.
    """

    records: int = 0
    interrupted: int = 0
    frames: int = 0
    lag_bytes: int = 0
    losses: tuple[Loss, ...] = ()
    blocked: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    failed: str | None = None
    more: bool = False


class IngestStatistics(NamedTuple):
    """Totals since the ingester was made: records, frames, losses and failed steps."""

    records: int
    frames: int
    losses: int
    failures: int


class Ingester:
    """The one reader of the spool; `step` and `sweep` are called from one thread.

    Parameters
    ----------
    enrich : callable
        Computes what can be watched of each record; must not raise.
    now_us : callable
        Microseconds since the epoch.
    on_batch : callable, optional
        Called after the commit with the records and worker statistics of a batch, at most once
        for each: a batch whose commit was in doubt is not reported again. Only records that a
        rebuilt database reads anew from the segments are reported anew.
    """

    def __init__(
        self,
        database: Database,
        spool_dir: Path,
        *,
        enrich: Enrich,
        now_us: Callable[[], int],
        on_batch: OnBatch | None = None,
        options: IngestOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._database = database
        self._index = SegmentIndex(spool_dir)
        self._mark_file = MarkFile(spool_dir)
        self._enrich = enrich
        self._now_us = now_us
        self._on_batch = on_batch
        self._options = options
        self._marks: dict[str, Watermark] | None = None
        self._unsaved: dict[str, Watermark] = {}
        self._told: dict[str, int] = {}
        self._saved_at = 0
        self._reopened = 0
        self._unreadable_since: dict[str, int] = {}
        self._turn = 0
        self._totals = IngestStatistics(0, 0, 0, 0)

    def step(self) -> IngestStep:
        """Read and commit one batch.

        Raises
        ------
        StorageError
            The database could not be opened anew; call again later.
        """
        try:
            self._database.check_file()
            marks = self._load_marks()
            sources = self._sources()
            harvest = self._harvest(sources, marks)
            # Whatever goes wrong from here on, the file alone knows whether the batch is in.
            self._marks = None
            self._unsaved |= harvest.marks
            written = self._write(harvest) if self._is_due(harvest, marks) else NOTHING
            marks.update(harvest.marks)
            self._marks = marks
            self._checkpoint()
        except (DatabaseCorrupt, DatabaseFailed) as error:
            self._totals = self._totals._replace(failures=self._totals.failures + 1)
            return IngestStep(failed=f"{error}{self._recover(error)}")
        self._mark_file.publish(marks, self._now_us())
        self._count(harvest, written)
        self._told |= {name: mark.frames for name, mark in harvest.marks.items()}
        if self._on_batch is not None and (written.ends or harvest.stats):
            self._on_batch(written.ends, harvest.stats)
        return IngestStep(
            records=len(written.ends),
            interrupted=harvest.interrupted,
            frames=harvest.frames,
            lag_bytes=sum(_lag_bytes(s, marks.get(name)) for name, s in sources.items()),
            losses=tuple(written.losses),
            blocked=tuple(name for name, s in sources.items() if _is_blocked(s, marks.get(name))),
            unreadable=tuple(self._unreadable_since),
            more=not harvest.has_room,
        )

    def sweep(self) -> int:
        """Do the housekeeping of a minute; return the number of segments removed.

        Roll-up deltas of slots that are over are added up. Segments that are in the database for
        longer than the grace period are removed, after a checkpoint: the rows are then in the
        file, not only in its write-ahead log.
        """
        try:
            marks = self._load_marks()
            self._compact()
            removed = self._remove_segments(marks)
            self._forget_sources(marks)
        except (DatabaseCorrupt, DatabaseFailed) as error:
            raise type(error)(f"{error}{self._recover(error)}") from error
        return removed

    def statistics(self) -> IngestStatistics:
        """Return totals since this object was made."""
        return self._totals

    def _load_marks(self) -> dict[str, Watermark]:
        reopened = self._database.statistics().reopened
        if self._database.damage is not None or reopened != self._reopened:
            self._marks = None
        if self._marks is None:
            self._options.restore()
            with self._database.cursor() as cursor:
                self._marks = load_watermarks(cursor)
            self._unsaved = {}
            self._reopened = self._database.statistics().reopened
        return self._marks

    def _recover(self, error: DatabaseCorrupt | DatabaseFailed) -> str:
        """Open the file anew; return what there is to say of it."""
        self._marks = None
        if isinstance(error, DatabaseCorrupt):
            aside: Path | None = self._database.rebuild()
        else:
            aside = self._database.reopen()
        return "" if aside is None else f"; it was set aside as {aside} and is rebuilt"

    def _sources(self) -> dict[str, list[SegmentInfo]]:
        sources: dict[str, list[SegmentInfo]] = {}
        for segment in self._index.list():
            sources.setdefault(segment.source, []).append(segment)
        return sources

    def _harvest(
        self, sources: dict[str, list[SegmentInfo]], marks: dict[str, Watermark]
    ) -> Harvest:
        harvest = Harvest(self._options.batch, told=self._told)
        names = [name for name in sources if name not in marks or not marks[name].finished]
        if not names:
            return harvest
        # The first source changes, so that one that is always full starves no other.
        self._turn = (self._turn + 1) % len(names)
        for name in names[self._turn :] + names[: self._turn]:
            if not harvest.has_room:
                break
            before = marks.get(name) or Watermark(name, sources[name][0].number)
            mark = before.copy()
            relist = partial(self._list, name)
            reader = SourceReader(
                mark, sources[name], harvest, relist=relist, pass_over=self._is_given_up(name)
            )
            try:
                # Someone may remove a segment after it was listed; what was read of it counts.
                with suppress(FileNotFoundError):
                    reader.read()
                self._unreadable_since.pop(name, None)
            except OSError:
                self._unreadable_since.setdefault(name, self._now_us())
            if mark != before:
                harvest.marks[name] = mark
        return harvest

    def _list(self, source: str) -> list[SegmentInfo]:
        return self._index.list(source)

    def _is_given_up(self, source: str) -> bool:
        since = self._unreadable_since.get(source)
        return since is not None and self._now_us() - since >= self._options.patience_s * 1e6

    def _is_due(self, harvest: Harvest, marks: dict[str, Watermark]) -> bool:
        """Whether there is more to commit than that heartbeats were read, which may wait.

        A worker sends one a second; they are told once, also when they are read again.
        """
        if harvest.ends or harvest.feedback or harvest.losses:
            return True
        if any(_is_elsewhere(mark, marks.get(name)) for name, mark in harvest.marks.items()):
            return True
        return bool(self._unsaved) and not 0 <= self._now_us() - self._saved_at < _SAVE_US

    def _write(self, harvest: Harvest) -> Batch:
        with self._database.cursor() as cursor:
            if cursor.execute("SELECT 1 FROM forgotten LIMIT 1").fetchall():
                harvest.leave_out(load_tombstones(cursor).covers)
            batch = Batch(
                ends=harvest.ends,
                signals=self._enrich(harvest.ends),
                feedback=harvest.feedback,
                losses=harvest.losses,
                marks=list(self._unsaved.values()),
                places=harvest.places,
            )
            written = append_batch(cursor, batch, now_us=self._now_us())
        self._unsaved = {}
        self._saved_at = self._now_us()
        return written

    def _checkpoint(self) -> None:
        # Between batches: one inside a commit makes everybody wait who commits.
        if self._database.statistics().wal_bytes >= self._options.checkpoint_bytes:
            self._database.checkpoint()

    def _count(self, harvest: Harvest, written: Batch) -> None:
        totals = self._totals
        self._totals = totals._replace(
            records=totals.records + len(written.ends),
            frames=totals.frames + harvest.frames,
            losses=totals.losses + len(written.losses),
        )

    def _compact(self) -> None:
        with self._database.cursor() as cursor:
            compact(cursor, self._now_us())

    def _remove_segments(self, marks: dict[str, Watermark]) -> int:
        before_s = self._now_us() / 1e6 - self._options.grace_s
        old = [
            segment
            for segments in self._sources().values()
            for segment in segments
            if _is_read(segment, marks.get(segment.source))
            and _written_before(segment, before_s)
            and self._options.may_remove(segment)
        ]
        if old and not self._database.checkpoint():
            return 0  # Somebody reads older rows; the next sweep finds the segments again.
        return sum(_remove(segment) for segment in old)

    def _forget_sources(self, marks: dict[str, Watermark]) -> None:
        left = self._sources()
        gone = [name for name, mark in marks.items() if mark.finished and name not in left]
        if gone:
            with self._database.cursor() as cursor:
                drop_watermarks(cursor, gone)
            for name in gone:
                del marks[name]
                self._told.pop(name, None)


def _is_elsewhere(mark: Watermark, before: Watermark | None) -> bool:
    """Whether a source is new, over, or in another segment than it was."""
    return before is None or (mark.segment, mark.finished) != (before.segment, before.finished)


def _is_read(segment: SegmentInfo, mark: Watermark | None) -> bool:
    return mark is not None and (mark.finished or segment.number < mark.segment)


def _remove(segment: SegmentInfo) -> bool:
    try:
        return remove_segment(segment.path)
    except OSError:
        return False  # It stays until somebody gives it back its permissions.


def _written_before(segment: SegmentInfo, before_s: float) -> bool:
    try:
        return segment.path.stat().st_mtime <= before_s
    except OSError:
        return False


def _lag_bytes(segments: Sequence[SegmentInfo], mark: Watermark | None) -> int:
    if mark is None:
        return sum(segment.size_bytes for segment in segments)
    if mark.finished:
        return 0
    lag = 0
    for segment in segments:
        if segment.number >= mark.segment:
            read = mark.byte_offset if segment.number == mark.segment else 0
            lag += max(0, segment.size_bytes - read)
    return lag


def _is_blocked(segments: Sequence[SegmentInfo], mark: Watermark | None) -> bool:
    if mark is not None and mark.finished:
        return False
    first = 0 if mark is None else mark.segment
    waiting = [segment for segment in segments if segment.number >= first]
    return bool(waiting) and waiting[0].schema_version > SCHEMA_VERSION
