"""Retention by age and by size: what is too old goes, then the oldest of what is too much."""

import logging
from typing import NamedTuple

from storage.archive.facts import FactArchive
from storage.config import RetentionConfig
from storage.database import PAYLOADS_FOLDER, Database
from storage.lifecycle.copies import copies_folder
from storage.lifecycle.sizes import database_info, facts_bytes, folder_size, total_bytes
from storage.log import Cutoffs, PredictionLog, Removed
from storage.text.archive import TextArchive
from storage.times import DAY_US, from_timestamp, to_timestamp

log = logging.getLogger(__name__)

DETECTORS_US = 30 * DAY_US
"""Detectors that no look wrote for so long are of routes or baselines that are gone."""
_NOTHING = Removed(0, 0, 0, 0)


class Dropped(NamedTuple):
    """Files that were removed, rows in them, bytes on disk."""

    files: int = 0
    rows: int = 0
    bytes: int = 0


class Retired(NamedTuple):
    """What one run of retention removed.

    Attributes
    ----------
    facts : Removed
        Rows of the database: by age and by size together.
    state_rows : int
        Verdicts, resolved alerts, settled notifications, silences that are over, and detectors
        that no look has fed for `DETECTORS_US`.
    text, archive : Dropped
        Files.
    over_bytes : int
        What is still above `total_size`: today's data, the spool, or roll-ups alone are more.
    """

    facts: Removed = _NOTHING
    state_rows: int = 0
    text: Dropped = Dropped()
    archive: Dropped = Dropped()
    over_bytes: int = 0


class Retention:
    """Applies a policy to a data directory; called about once an hour, from one thread."""

    def __init__(
        self, database: Database, rows: PredictionLog, text: TextArchive, archive: FactArchive
    ) -> None:
        self._database = database
        self._rows = rows
        self._text = text
        self._archive = archive
        self._spool_dir = database.data_dir / "spool"

    def apply(self, policy: RetentionConfig, now_us: int) -> Retired:
        """Remove what the policy does not keep, and log it.

        By age, facts go to the microsecond, text and archive by whole files. By size, files of
        text go first, the oldest before the others, then whole days of facts but the present
        one. Roll-ups outlive the facts they count.

        Raises
        ------
        StorageError
            What was removed until then stays so; the next run goes on.
        """
        copies_folder(self._database, now_us)  # Without what interrupted copies left there.
        before = now_us - policy.predictions * DAY_US
        facts = self._remove_facts(
            Cutoffs(before, now_us - policy.rollups * DAY_US),
        )
        state_rows = self._remove_state(before, now_us)
        text = Dropped(*self._text.drop_before(now_us - policy.payloads * DAY_US))
        archive = Dropped(*self._archive.drop_before(before, now_us - policy.rollups * DAY_US))
        done = Retired(facts, state_rows, text, archive)
        if policy.payloads_size is not None:
            size = folder_size(self._database.data_dir / PAYLOADS_FOLDER).bytes
            done = done._replace(
                text=_sum(done.text, self._shrink_text(size - policy.payloads_size))
            )
        if policy.total_size is not None:
            done = self._shrink(policy.total_size, now_us, done)
        _report(done)
        return done

    def _shrink(self, limit_bytes: int, now_us: int, done: Retired) -> Retired:
        over = total_bytes(self._database, self._spool_dir) - limit_bytes
        if over > 0:
            done = done._replace(text=_sum(done.text, self._shrink_text(over)))
            over = total_bytes(self._database, self._spool_dir) - limit_bytes
        if over > 0:
            before = self._day_that_frees(over, now_us)
            if before is not None:
                facts = self._remove_facts(Cutoffs(before, None))
                archive = Dropped(*self._archive.drop_before(before, 0))
                done = done._replace(
                    facts=Removed(*map(sum, zip(done.facts, facts, strict=True))),
                    archive=_sum(done.archive, archive),
                )
                over = total_bytes(self._database, self._spool_dir) - limit_bytes
        return done._replace(over_bytes=max(0, over))

    def _shrink_text(self, over_bytes: int) -> Dropped:
        return Dropped(*self._text.drop_oldest(over_bytes)) if over_bytes > 0 else Dropped()

    def _day_that_frees(self, over_bytes: int, now_us: int) -> int | None:
        """Return the midnight before which facts must go so that enough is free; never today's."""
        self._database.checkpoint()  # What is in the log alone has no size of its own.
        info = database_info(self._database, self._spool_dir, now_us)
        per_row = (facts_bytes(info.tables) + info.archive.bytes) / max(info.predictions, 1)
        with self._database.cursor() as cursor:
            days = cursor.execute(
                "SELECT date_trunc('day', started_at) AS day, count(*) FROM predictions"
                " WHERE started_at < date_trunc('day', $1::TIMESTAMP) GROUP BY day ORDER BY day",
                [to_timestamp(now_us)],
            ).fetchall()
        freed, before = 0.0, None
        for day, rows in days:
            if freed >= over_bytes:
                break
            freed += rows * per_row
            before = from_timestamp(day) + DAY_US
        return before

    def _remove_facts(self, cutoffs: Cutoffs) -> Removed:
        removed = self._rows.apply_retention(cutoffs)
        if any(removed):
            # Blocks are free for others once a checkpoint has seen the rows go.
            self._database.checkpoint()
        return removed

    def _remove_state(self, before_us: int, now_us: int) -> int:
        conditions = {
            "verdicts": ('"at" < ?', before_us),
            "alerts": ("resolved_at < ?", before_us),
            "deliveries": ("state <> 'pending' AND created_at < ?", before_us),
            "silences": ("ends_at < ?", before_us),
            "detectors": ("updated_at < ?", now_us - DETECTORS_US),
        }
        rows = 0
        with self._database.cursor() as cursor:
            for table, (condition, before) in conditions.items():
                found = cursor.execute(
                    f"DELETE FROM {table} WHERE {condition}",  # noqa: S608 (names of this function)
                    [to_timestamp(before)],
                )
                rows += int(found.fetchall()[0][0])
        return rows


def _sum(one: Dropped, other: Dropped) -> Dropped:
    return Dropped(*map(sum, zip(one, other, strict=True)))


def _report(done: Retired) -> None:
    if any(done.facts) or done.state_rows or done.text.files or done.archive.files:
        log.info(
            "retention removed %d predictions, %d roll-up rows, %d rows of state, %d files of text"
            " (%d bytes), %d files of the archive",
            done.facts.predictions,
            done.facts.rollups,
            done.state_rows,
            done.text.files,
            done.text.bytes,
            done.archive.files,
        )
    if done.over_bytes:
        log.error(
            "`record.retention.total_size` is exceeded by %d bytes, and nothing older than today"
            " is left to remove; raise it",
            done.over_bytes,
        )
