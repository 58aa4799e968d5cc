"""What a data directory will come to, from what the last days added."""

import shutil
from typing import NamedTuple

from storage.config import RetentionConfig
from storage.database import Database
from storage.lifecycle.forecast import Forecast, Kind, forecast
from storage.lifecycle.sizes import DatabaseInfo, facts_bytes
from storage.times import DAY_US, to_timestamp

_LOOK_BACK_DAYS = 7
_FOREVER_DAYS = 3650.0


class _Growth(NamedTuple):
    """Averages of the last whole days: predictions and bytes of text, a day."""

    predictions: float
    text_bytes: float


def outlook(
    database: Database, info: DatabaseInfo, retention: RetentionConfig, now_us: int
) -> Forecast:
    """Return what comes if the next days are like the last seven.

    Raises
    ------
    StorageError
    """
    growth = _growth(database, info, now_us)
    age = 0.0 if info.oldest_at is None else max(0.0, (now_us - info.oldest_at) / DAY_US)
    facts = facts_bytes(info.tables) + info.wal_bytes + info.archive.bytes
    rollups = sum(table.bytes for table in info.tables if table.name.startswith("rollup_"))
    beside = sum(table.bytes for table in info.tables) - facts_bytes(info.tables) - rollups
    share = growth.predictions / info.predictions if info.predictions else 0.0
    kinds = [
        Kind("facts", facts, facts * share, age, retention.predictions),
        Kind(
            "text",
            info.text.bytes,
            growth.text_bytes,
            min(age, retention.payloads),
            retention.payloads,
            retention.payloads_size,
        ),
        Kind("roll-ups", rollups, rollups / max(age, 1.0), age, retention.rollups),
        Kind("spool", info.spool.bytes, 0.0, 0.0, _FOREVER_DAYS),
        Kind("other", beside, 0.0, 0.0, _FOREVER_DAYS),
    ]
    free = shutil.disk_usage(database.data_dir).free
    return forecast(kinds, free_bytes=free, total_limit_bytes=retention.total_size)


def _growth(database: Database, info: DatabaseInfo, now_us: int) -> _Growth:
    today = now_us // DAY_US * DAY_US
    if info.oldest_at is None or info.oldest_at >= today:
        return _Growth(0.0, 0.0)
    span = [to_timestamp(today - _LOOK_BACK_DAYS * DAY_US), to_timestamp(today)]
    with database.cursor() as cursor:
        rows = cursor.execute(
            'SELECT coalesce(sum(n), 0)::BIGINT FROM rollup_counts WHERE "at" >= $1 AND "at" < $2',
            span,
        ).fetchall()
        text = cursor.execute(
            "SELECT coalesce(sum(bytes), 0)::BIGINT FROM payload_files"
            " WHERE day >= $1::DATE AND day < $2::DATE AND state = 'live'",
            span,
        ).fetchall()
    # A directory of an hour says little of a day, and must not be taken for 24 times as much.
    days = max(min(float(_LOOK_BACK_DAYS), (today - info.oldest_at) / DAY_US), 1.0)
    return _Growth(rows[0][0] / days, text[0][0] / days)
