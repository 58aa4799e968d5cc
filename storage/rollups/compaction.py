"""Adding up: the deltas of slots that are over, and slots of the day before to hours.

Totals stay as they are, whenever this runs and however often.
"""

import duckdb

from storage.rollups.adding import add_up
from storage.rollups.cells import watch_baselines
from storage.rollups.rebuild import recount
from storage.rollups.state import SLOT_US, RollupState, load_state, save_state
from storage.rollups.statements import ROLLUPS
from storage.times import DAY_US, HOUR_US, to_timestamp

FINE_HOURS = 26
"""Younger hours keep their 5-minute slots: those of a day and of a look that is late."""

_MOST_HOURS = 24


def compact(connection: duckdb.DuckDBPyConnection, now_us: int) -> bool:
    """Do one round of adding up, in one transaction; return whether there is more to do.

    To be called by the thread that ingests, about once a minute.
    """
    connection.begin()
    try:
        state = load_state(connection)
        more = _recount_stale(connection, state)
        more |= _watch(connection, state)
        _add_up_slots(connection, state, now_us)
        more |= _add_up_hours(connection, state, now_us)
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        raise
    return more


def _watch(connection: duckdb.DuckDBPyConnection, state: RollupState) -> bool:
    # Where no batches come, nobody else would count the rows before a new baseline.
    newest = connection.execute("SELECT value FROM log_state WHERE name = 'batch'").fetchone()
    following = 1 + (int(newest[0]) if newest else 0)
    return watch_baselines(connection, state, before_batch=following).behind is not None


def _recount_stale(connection: duckdb.DuckDBPyConnection, state: RollupState) -> bool:
    until = state.rollups_stale_until
    if not until:
        return False
    first = -(-state.facts_from // HOUR_US) * HOUR_US
    low = max(first, (until - 1) // DAY_US * DAY_US)
    if low < until:
        recount(connection, state, low, until)
    left = low if first < low < until else 0
    save_state(connection, rollups_stale_until=left)
    return left > 0


def _add_up_slots(connection: duckdb.DuckDBPyConnection, state: RollupState, now_us: int) -> None:
    over = now_us - now_us % SLOT_US
    if over == state.rollup_slots_until:
        return
    # A clock that was ahead has left its time here, and hours where it made hours of slots.
    low = min(state.rollup_slots_until, over)
    low -= low % state.grain_us(low)
    # A file that lay idle has days of slots to look through, and only their last deltas to add.
    for rollup in ROLLUPS:
        add_up(
            connection,
            rollup,
            (low, over),
            hours_until=state.rollup_hours_until,
        )
    save_state(connection, rollup_slots_until=over)


def _add_up_hours(connection: duckdb.DuckDBPyConnection, state: RollupState, now_us: int) -> bool:
    target = (now_us // HOUR_US - FINE_HOURS) * HOUR_US
    low = state.rollup_hours_until
    if target <= low:
        return False
    first = connection.execute(
        'SELECT epoch_us(min("at")) FROM rollup_counts WHERE "at" >= ?', [to_timestamp(low)]
    ).fetchone()
    start = first[0] // HOUR_US * HOUR_US if first and first[0] is not None else target
    until = min(target, max(low, start) + _MOST_HOURS * HOUR_US)
    for rollup in ROLLUPS:
        add_up(connection, rollup, (low, until), hours_until=until)
    save_state(connection, rollup_hours_until=until)
    return until < target
