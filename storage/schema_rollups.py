"""Roll-ups: integers by 5-minute slot, added up to hours later.

`at` is the start of a slot and `grain_s` its length, 300 or 3600 seconds: slots that start before
`log_state.rollup_hours_until` (microseconds since the epoch) are hours. Every sum is an integer,
so that sums of sums are exact whatever their order.
"""

_OLD_COUNTS = "ALTER TABLE rollup_counts RENAME TO rollup_counts_2"
_OLD_LATENCY = "ALTER TABLE rollup_latency RENAME TO rollup_latency_2"

_SLOT = (
    '"at" TIMESTAMP NOT NULL, grain_s INTEGER NOT NULL, route VARCHAR NOT NULL,'
    " variant VARCHAR NOT NULL, upstream VARCHAR NOT NULL, model VARCHAR NOT NULL,"
    " role VARCHAR NOT NULL"
)

_COUNTS = f"""
CREATE TABLE rollup_counts (
    {_SLOT}, cache VARCHAR NOT NULL, status SMALLINT NOT NULL, reason VARCHAR NOT NULL,
    stream BOOLEAN NOT NULL, fallback BOOLEAN NOT NULL,
    n BIGINT NOT NULL, truncated BIGINT NOT NULL, attempts BIGINT NOT NULL,
    prompt_tokens HUGEINT NOT NULL, response_tokens HUGEINT NOT NULL,
    cached_tokens HUGEINT NOT NULL, reasoning_tokens HUGEINT NOT NULL,
    prompt_known BIGINT NOT NULL, response_known BIGINT NOT NULL,
    cached_known BIGINT NOT NULL, reasoning_known BIGINT NOT NULL,
    cost_nano_usd HUGEINT NOT NULL, cost_known BIGINT NOT NULL,
    request_bytes HUGEINT NOT NULL, response_bytes HUGEINT NOT NULL,
    first_at TIMESTAMP NOT NULL, last_at TIMESTAMP NOT NULL)
"""

_VALUES = f"""
CREATE TABLE rollup_values ({_SLOT}, measure VARCHAR NOT NULL, bucket INTEGER, n BIGINT NOT NULL)
"""

_CATEGORIES = f"""
CREATE TABLE rollup_categories (
    {_SLOT}, feature VARCHAR NOT NULL, value VARCHAR, n BIGINT NOT NULL)
"""

_ATTEMPTS = """
CREATE TABLE rollup_attempts (
    "at" TIMESTAMP NOT NULL, grain_s INTEGER NOT NULL, route VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL, role VARCHAR NOT NULL,
    n BIGINT NOT NULL, failed BIGINT NOT NULL, retries BIGINT NOT NULL)
"""

_CELLS = """
CREATE TABLE rollup_cells (
    "at" TIMESTAMP NOT NULL, grain_s INTEGER NOT NULL, route VARCHAR NOT NULL,
    feature VARCHAR NOT NULL, baseline VARCHAR NOT NULL, cell INTEGER NOT NULL, n BIGINT NOT NULL)
"""

_CELL_EDGES = """
CREATE TABLE cell_edges (
    route VARCHAR NOT NULL, baseline VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL,
    counted_from TIMESTAMP NOT NULL, feature VARCHAR NOT NULL, edges DOUBLE[],
    top VARCHAR[], rest VARCHAR[], complete BOOLEAN)
"""
"""The cells that `rollup_cells` counts: of the baseline that was created last, by route."""

# What the older hours did not say (streams, truncated and known ones) is 0 and false in them.
_CARRY_COUNTS = """
INSERT INTO rollup_counts
SELECT hour, 3600, route, variant, upstream, model, role, cache, status_class * 100, reason,
    false, fallback, n, 0, attempts, prompt_tokens, response_tokens, cached_tokens,
    reasoning_tokens, 0, 0, 0, 0, round(cost_usd * 1e9)::HUGEINT, 0, request_bytes, response_bytes,
    hour, hour
FROM rollup_counts_2 ORDER BY hour
"""

_CARRY_LATENCY = """
INSERT INTO rollup_values
SELECT hour, 3600, route, variant, upstream, '', role, measure || '_s', greatest(0, bucket + 349),
    n
FROM rollup_latency_2 ORDER BY hour
"""

_STATE = """
INSERT INTO log_state
SELECT unnest(['rollup_hours_until', 'rollup_slots_until', 'rollups_stale_until', 'facts_from']),
    unnest([until, until, until, first])
FROM (SELECT coalesce(epoch_us(max("at")) + 3600000000, 0) AS until FROM rollup_counts),
    (SELECT coalesce(epoch_us(CASE WHEN counted = there THEN hour ELSE earliest END), 0) AS first
    FROM (SELECT min(started_at) AS earliest, date_trunc('hour', min(started_at)) AS hour
        FROM predictions),
        LATERAL (SELECT coalesce(sum(n), 0) AS counted FROM rollup_counts WHERE "at" = hour),
        LATERAL (SELECT count(*) AS there FROM predictions
            WHERE started_at < hour + INTERVAL 1 HOUR))
"""
"""What is stale is counted anew from the facts, a day at a time, by `rollups.compact`.

The first hour of the facts is among it unless some of its facts have expired already.
"""

# Baselines that were set before have their cells counted with the next batch.
_BASELINES = "INSERT INTO log_state SELECT 'baselines', count(*) FROM baselines"

VERSION_4: tuple[str, ...] = (
    _OLD_COUNTS,
    _OLD_LATENCY,
    _COUNTS,
    _VALUES,
    _CATEGORIES,
    _ATTEMPTS,
    _CELLS,
    _CELL_EDGES,
    _CARRY_COUNTS,
    _CARRY_LATENCY,
    _STATE,
    _BASELINES,
    "DROP TABLE rollup_counts_2",
    "DROP TABLE rollup_latency_2",
)
