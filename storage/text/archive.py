"""The archive of text: Parquet day files written behind the facts, merged, trimmed, forgotten.

Text never enters the database: it stays in the spool's segments until `step` has written it to a
file. File names and marks are committed in one transaction, so after a crash at any moment the
text of a committed fact is in a registered file or behind the mark, never both.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.database import Database
from storage.lifecycle.copies import moment_of
from storage.text.chunk import Chunk
from storage.text.harvest import (
    Harvester,
    Standing,
    load_standing,
    save_losses,
    unarchived_bytes,
)
from storage.text.layout import FOLDER, SPILL
from storage.text.merging import next_group
from storage.text.registry import (
    FileState,
    Mark,
    TextFile,
    drop_marks,
    forget_files,
    load_files,
    load_marks,
    register,
    save_marks,
    set_state,
)
from storage.text.rewriting import merge_group, rewrite_without
from storage.text.tidying import adopted_ids, quarantine, tidy_folder
from storage.text.writing import write_chunk

CHUNK_BYTES = 32 << 20
CHUNK_AGE_US = 30_000_000
_HOUSE_US = 20_000_000
GRACE_US = 120_000_000
"""A merged file's inputs stay that long, for other programs that have listed them and still read.

Our own readers need none: files are unlinked while nobody reads.
"""
_LULL_S = 0.1
_QUERIES_END_S = 10.0


class TextStep(NamedTuple):
    """What one step did.

    Attributes
    ----------
    rows, files : int
        Texts that were archived, and the files they went to.
    merged : int
        Files that were merged into one.
    more : bool
        Call again at once: there is a backlog.
    """

    rows: int = 0
    files: int = 0
    merged: int = 0
    more: bool = False


class Dropped(NamedTuple):
    """What retention removed; `bytes` are those on the disk."""

    files: int
    rows: int
    bytes: int


class TextStatistics(NamedTuple):
    """Size of the archive.

    Attributes
    ----------
    files, rows, bytes : int
        Live files, the texts in them, their size on the disk.
    text_bytes : int
        The same texts uncompressed.
    damaged : int
        Files set aside.
    unarchived_bytes : int
        Of the spool, behind the text marks and before those of the facts.
    """

    files: int
    rows: int
    bytes: int
    text_bytes: int
    damaged: int
    unarchived_bytes: int


class TextArchive:
    """The one writer of text files; its methods may be called from any thread.

    Every method may raise `StorageError`; call again later.
    """

    def __init__(
        self,
        database: Database,
        spool_dir: Path,
        now_us: Callable[[], int],
        *,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._chunk_bytes = chunk_bytes
        self._database = database
        self._spool_dir = spool_dir
        self._folder = database.data_dir / FOLDER
        self._now_us = now_us
        self._busy = threading.RLock()
        self._written_us: int | None = None
        self._kept_us = 0
        self._checked = ""
        self._tidy_since: int | None = None
        self._seen: tuple[object, ...] | None = None
        self._is_behind = False
        self._reading = threading.Lock()
        self._marks: dict[str, Mark] = {}
        self._marks_of: tuple[object, ...] | None = None

    def recover(self) -> int:
        """Put the folder in order after a crash; return the number of files taken in.

        Left-overs of interrupted work are removed, what `payloads_recent` of an older program
        holds moves to files, and after a loss of the database all files and marks are registered
        anew from what the files say of themselves.
        """
        with self._busy:
            reopened = self._database.statistics().reopened
            shutil.rmtree(self._folder / SPILL, ignore_errors=True)
            with self._database.cursor() as cursor:
                adopted = tidy_folder(cursor, self._folder, self._now_us())
                self._purge(cursor, load_files(cursor, "gone"))
            self._tidy_since = reopened
            return adopted

    def step(self, *, flush: bool = False) -> TextStep:
        """Archive a chunk if one is due, else merge some files if they are due.

        A chunk is due every half minute, or when enough text waits; with `flush` at once.
        """
        with self._busy:
            if self._tidy_since != self._database.statistics().reopened:
                self.recover()
            now_us = self._now_us()
            self._written_us = min(now_us, self._written_us or now_us)
            moment = moment_of(self._database)
            if not flush and self._is_quiet(moment, now_us):
                return TextStep()
            with self._trouble(), self._database.cursor() as cursor:
                standing = load_standing(cursor)
                self._seen, self._is_behind = moment, bool(standing.behind())
                if self._is_due(standing, now_us, flush=flush):
                    return self._archive(cursor, standing)
                if not flush and 0 <= now_us - self._kept_us < _HOUSE_US:
                    return TextStep()
                merged = self._merge(cursor)
                grown = now_us - GRACE_US
                old = [f for f in load_files(cursor, "retired") if f.changed_at <= grown]
                self._purge(cursor, [*old, *load_files(cursor, "gone")])
                if not merged:
                    self._kept_us = now_us
                    self._check_next(cursor)
                return TextStep(merged=merged, more=merged > 0)

    def archived(self, source: str) -> tuple[int, int]:
        """Return segment and offset up to which a source's text is in files."""
        # Asked for thousands of segments in a row: the marks are read again after commits alone.
        with self._reading:
            moment = moment_of(self._database)
            if moment is None or moment != self._marks_of:
                with self._database.cursor() as cursor:
                    self._marks = load_marks(cursor)
                self._marks_of = moment
            return self._marks.get(source, Mark(0, 0)).place

    def drop_before(self, at_us: int) -> Dropped:
        """Remove the files whose last row is older than a time; readers have a grace."""
        with self._busy, self._database.cursor() as cursor:
            files = [one for one in load_files(cursor, "live") if one.last_at < at_us]
            self._change(cursor, [one.file for one in files], "retired")
            return _dropped(files)

    def drop_oldest(self, size_bytes: int) -> Dropped:
        """Remove the oldest files at once until that much of the disk is free.

        Queries that do not end within ten seconds are interrupted.
        """
        with self._busy, self._database.cursor() as cursor:
            retired = load_files(cursor, "retired")
            freed = sum(one.bytes for one in retired)
            files = []
            for one in load_files(cursor, "live"):
                if freed >= size_bytes:
                    break
                files.append(one)
                freed += one.bytes
            self._change(cursor, [one.file for one in (*retired, *files)], "gone")
            self._purge(cursor, load_files(cursor, "gone"), at_once=True)
            return _dropped(files)

    def forget(self, ids: Sequence[str]) -> int:
        """Remove the text of predictions from every file; return how many texts there were.

        The files that held them are unlinked at once, and so is what is kept for slow readers
        or was set aside as damaged: nobody can tell whose text is in there. Queries that do not
        end within ten seconds are interrupted.
        """
        if not ids:
            return 0
        with self._busy, self._trouble(), self._database.cursor() as cursor:
            removed = rewrite_without(cursor, self._folder, list(ids), self._now_us())
            cursor.execute(
                "DELETE FROM payloads_recent WHERE id IN (SELECT unnest(?::UUID[]))", [list(ids)]
            )
            kept = [one.file for one in load_files(cursor, "retired", "damaged")]
            self._change(cursor, kept, "gone")
            self._purge(cursor, load_files(cursor, "gone"), at_once=True)
            return removed

    def check(self) -> list[TextFile]:
        """Read every file's bytes and set aside those that are not what was written."""
        with self._busy, self._database.cursor() as cursor:
            return quarantine(cursor, self._folder, self._now_us(), load_files(cursor, "live"))

    def days(self) -> list[tuple[date, int]]:
        """Return the bytes on the disk by UTC day, oldest first."""
        with self._database.cursor() as cursor:
            rows = cursor.execute(
                "SELECT day, sum(bytes)::BIGINT FROM payload_files WHERE state <> 'gone'"
                " GROUP BY day ORDER BY day"
            ).fetchall()
        return [(day, size) for day, size in rows]

    def statistics(self) -> TextStatistics:
        """Return the size of the archive."""
        with self._database.cursor() as cursor:
            live = load_files(cursor, "live")
            damaged = load_files(cursor, "damaged")
            standing = load_standing(cursor)
        return TextStatistics(
            files=len(live),
            rows=sum(one.rows for one in live),
            bytes=sum(one.bytes for one in live),
            text_bytes=sum(one.text_bytes for one in live),
            damaged=len(damaged),
            unarchived_bytes=unarchived_bytes(self._spool_dir, standing),
        )

    def _is_quiet(self, moment: tuple[object, ...] | None, now_us: int) -> bool:
        """Whether nothing was committed since the last look, and no time is up."""
        waited = now_us - (self._written_us or now_us)
        return (
            moment is not None
            and moment == self._seen
            and not (self._is_behind and waited >= CHUNK_AGE_US)
            and 0 <= now_us - self._kept_us < _HOUSE_US
        )

    def _is_due(self, standing: Standing, now_us: int, *, flush: bool) -> bool:
        if not standing.behind():
            return False
        if flush or now_us - (self._written_us or now_us) >= CHUNK_AGE_US:
            return True
        return unarchived_bytes(self._spool_dir, standing) >= self._chunk_bytes

    def _archive(self, cursor: duckdb.DuckDBPyConnection, standing: Standing) -> TextStep:
        harvest = Harvester(cursor, self._spool_dir, standing, chunk_bytes=self._chunk_bytes)
        harvest.read()
        known = {one.file for one in load_files(cursor)}
        chunk = _without(harvest.chunk, adopted_ids(cursor, self._folder, harvest.chunk))
        files = write_chunk(self._folder, chunk, known)
        now_us = self._now_us()
        with _transaction(cursor):
            register(cursor, [one._replace(changed_at=now_us) for one in files])
            save_marks(cursor, harvest.marks)
            save_losses(cursor, harvest.losses, now_us)
            drop_marks(cursor, harvest.gone_sources())
        if not harvest.full:
            self._written_us = now_us
        return TextStep(len(chunk.rows), len(files), more=harvest.full)

    def _merge(self, cursor: duckdb.DuckDBPyConnection) -> int:
        group = next_group(load_files(cursor, "live"), self._now_us())
        if group is None:
            return 0
        merge_group(cursor, self._folder, group, self._now_us())
        return len(group.files)

    def _check_next(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Check one file's bytes, in turn: a damaged one would fail every read of the view."""
        names = {one.file: one for one in load_files(cursor, "live")}
        later = [name for name in names if name > self._checked] or list(names)
        if later:
            self._checked = min(later)
            quarantine(cursor, self._folder, self._now_us(), [names[self._checked]])

    def _change(
        self, cursor: duckdb.DuckDBPyConnection, names: Sequence[str], state: FileState
    ) -> None:
        with _transaction(cursor):
            set_state(cursor, names, state, self._now_us())

    def _purge(
        self,
        cursor: duckdb.DuckDBPyConnection,
        files: Sequence[TextFile],
        *,
        at_once: bool = False,
    ) -> None:
        """Unlink files while nobody reads: a query opens each file that it listed, retired or not.

        Names are forgotten after it: the other way round a crash would leave the files. Where
        somebody reads, and it need not be at once, the next call does it.
        """
        if not files:
            return
        lending = self._database.lending
        if at_once:
            with lending.all_returned(patience_s=_QUERIES_END_S, besides=[cursor]):
                self._unlink(files)
        else:
            with lending.lull(patience_s=_LULL_S, besides=[cursor]) as is_quiet:
                if not is_quiet:
                    return
                self._unlink(files)
        forget_files(cursor, [one.file for one in files])

    def _unlink(self, files: Sequence[TextFile]) -> None:
        for one in files:
            path = self._folder / one.file
            path.unlink(missing_ok=True)
            path.with_suffix(".damaged").unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """After a failure nobody knows what is committed: look at the folder again first."""
        tidy_since, self._tidy_since = self._tidy_since, None
        yield
        self._tidy_since = tidy_since


@contextmanager
def _transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    cursor.begin()
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):
            cursor.rollback()
        raise
    cursor.commit()


def _dropped(files: Sequence[TextFile]) -> Dropped:
    return Dropped(len(files), sum(f.rows for f in files), sum(f.bytes for f in files))


def _without(chunk: Chunk, ids: set[str]) -> Chunk:
    if not ids:
        return chunk
    rows = [row for row in chunk.rows if row.id not in ids]
    return Chunk(rows, chunk.text_bytes, chunk.spans)
