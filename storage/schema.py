"""The tables of the database file, as SQL.

Big tables carry no key, no unique constraint and no index, so that no crash can leave one
broken: exactly once comes from `watermarks`, which is written in the same transaction as the
rows. Times are TIMESTAMP, UTC; structured values of small tables are JSON text.
"""

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)
"""

PREDICTIONS = """
CREATE TABLE predictions (
    id UUID NOT NULL, started_at TIMESTAMP NOT NULL,
    route VARCHAR NOT NULL, variant VARCHAR NOT NULL, upstream VARCHAR NOT NULL,
    model_asked VARCHAR NOT NULL, protocol VARCHAR NOT NULL, operation VARCHAR NOT NULL,
    tenant VARCHAR NOT NULL, status INTEGER NOT NULL,
    latency_s DOUBLE NOT NULL, upstream_s DOUBLE NOT NULL, overhead_s DOUBLE NOT NULL,
    role VARCHAR NOT NULL, cache VARCHAR NOT NULL, reason VARCHAR,
    attempts INTEGER NOT NULL, fallback_from VARCHAR, stream BOOLEAN NOT NULL,
    model_answered VARCHAR, version VARCHAR, user_key VARCHAR, pair_id UUID,
    finish_reason VARCHAR, truncated BOOLEAN NOT NULL,
    prompt_tokens BIGINT, response_tokens BIGINT, cached_tokens BIGINT, reasoning_tokens BIGINT,
    cost_usd DOUBLE, ttft_s DOUBLE, time_per_output_token_s DOUBLE,
    request_bytes BIGINT NOT NULL, response_bytes BIGINT NOT NULL,
    trace_id VARCHAR, tags VARCHAR[] NOT NULL, prediction VARCHAR, confidence DOUBLE,
    span_id VARCHAR, parent_span_id VARCHAR)
"""

ATTEMPTS = """
CREATE TABLE attempts (
    prediction_id UUID NOT NULL, role VARCHAR NOT NULL, route VARCHAR NOT NULL,
    attempt_no INTEGER NOT NULL, upstream VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL,
    latency_s DOUBLE NOT NULL, status INTEGER, reason VARCHAR, ttft_s DOUBLE)
"""

FEATURES = """
CREATE TABLE features (
    id UUID NOT NULL, started_at TIMESTAMP NOT NULL,
    route VARCHAR NOT NULL, variant VARCHAR NOT NULL, upstream VARCHAR NOT NULL,
    model VARCHAR NOT NULL, role VARCHAR NOT NULL, cache VARCHAR NOT NULL,
    prompt_tokens BIGINT, response_tokens BIGINT, prompt_chars BIGINT, response_chars BIGINT,
    latency_s DOUBLE, ttft_s DOUBLE, time_per_output_token_s DOUBLE,
    finish_reason VARCHAR, language VARCHAR, refusal BOOLEAN, error BOOLEAN NOT NULL)
"""

FEEDBACK = """
CREATE TABLE feedback (
    prediction_id UUID NOT NULL, given_at TIMESTAMP NOT NULL, tenant VARCHAR NOT NULL,
    score DOUBLE, label VARCHAR, comment VARCHAR)
"""

WATERMARKS = """
CREATE TABLE watermarks (
    source VARCHAR NOT NULL, segment BIGINT NOT NULL, byte_offset BIGINT NOT NULL,
    frames BIGINT NOT NULL, pending BLOB NOT NULL, finished BOOLEAN NOT NULL)
"""

ROLLUP_COUNTS = """
CREATE TABLE rollup_counts (
    hour TIMESTAMP NOT NULL, route VARCHAR NOT NULL, variant VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL, model VARCHAR NOT NULL, role VARCHAR NOT NULL,
    cache VARCHAR NOT NULL, status_class SMALLINT NOT NULL, reason VARCHAR NOT NULL,
    fallback BOOLEAN NOT NULL, n BIGINT NOT NULL, attempts BIGINT NOT NULL,
    prompt_tokens HUGEINT NOT NULL, response_tokens HUGEINT NOT NULL,
    cached_tokens HUGEINT NOT NULL, reasoning_tokens HUGEINT NOT NULL,
    cost_usd DOUBLE NOT NULL, request_bytes BIGINT NOT NULL, response_bytes BIGINT NOT NULL)
"""

ROLLUP_LATENCY = """
CREATE TABLE rollup_latency (
    hour TIMESTAMP NOT NULL, route VARCHAR NOT NULL, variant VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL, role VARCHAR NOT NULL, measure VARCHAR NOT NULL,
    bucket INTEGER NOT NULL, n BIGINT NOT NULL)
"""

BASELINES = """
CREATE TABLE baselines (
    name VARCHAR NOT NULL, version INTEGER NOT NULL, created_at TIMESTAMP NOT NULL,
    window_from TIMESTAMP NOT NULL, window_to TIMESTAMP NOT NULL, route VARCHAR NOT NULL,
    "rows" BIGINT NOT NULL, cells VARCHAR NOT NULL)
"""

VERDICTS = """
CREATE TABLE verdicts (
    id VARCHAR NOT NULL, "at" TIMESTAMP NOT NULL, monitor VARCHAR NOT NULL,
    route VARCHAR NOT NULL, feature VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL, severity VARCHAR NOT NULL, statistic VARCHAR NOT NULL,
    value DOUBLE, low DOUBLE, high DOUBLE, threshold DOUBLE,
    n_reference BIGINT NOT NULL, n_current BIGINT NOT NULL,
    window_from TIMESTAMP NOT NULL, window_to TIMESTAMP NOT NULL,
    baseline VARCHAR NOT NULL, details VARCHAR NOT NULL)
"""

ALERTS = """
CREATE TABLE alerts (
    id VARCHAR NOT NULL, kind VARCHAR NOT NULL, route VARCHAR NOT NULL,
    subject VARCHAR NOT NULL, state VARCHAR NOT NULL, severity VARCHAR NOT NULL,
    opened_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL, resolved_at TIMESTAMP,
    summary VARCHAR NOT NULL, data VARCHAR NOT NULL)
"""

DELIVERIES = """
CREATE TABLE deliveries (
    id VARCHAR NOT NULL, alert_id VARCHAR NOT NULL, event VARCHAR NOT NULL,
    channel VARCHAR NOT NULL, body BLOB NOT NULL, state VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL, next_at TIMESTAMP NOT NULL, tries INTEGER NOT NULL,
    last_status INTEGER, last_error VARCHAR, delivered_at TIMESTAMP)
"""

ROLLOUT_EVENTS = """
CREATE TABLE rollout_events (
    "at" TIMESTAMP NOT NULL, route VARCHAR NOT NULL, event VARCHAR NOT NULL,
    actor VARCHAR NOT NULL, summary VARCHAR NOT NULL, data VARCHAR NOT NULL)
"""

SPOOL_LOSSES = """
CREATE TABLE spool_losses (
    found_at TIMESTAMP NOT NULL, source VARCHAR NOT NULL, segment BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL, kind VARCHAR NOT NULL, frames BIGINT NOT NULL,
    bytes BIGINT NOT NULL)
"""

PAYLOADS_RECENT = """
CREATE TABLE payloads_recent (
    id UUID NOT NULL, started_at TIMESTAMP NOT NULL, request VARCHAR NOT NULL,
    response VARCHAR NOT NULL, request_truncated BOOLEAN NOT NULL,
    response_truncated BOOLEAN NOT NULL, response_type VARCHAR NOT NULL)
"""

PAYLOAD_FILES = """
CREATE TABLE payload_files (
    file VARCHAR NOT NULL, day DATE NOT NULL, "rows" BIGINT NOT NULL, bytes BIGINT NOT NULL,
    first_at TIMESTAMP NOT NULL, last_at TIMESTAMP NOT NULL, adopted BOOLEAN NOT NULL)
"""

PAYLOADS = """
CREATE VIEW payloads AS
SELECT id, started_at, request, response, request_truncated, response_truncated, response_type
FROM payloads_recent
UNION ALL
SELECT id, started_at, request, response, request_truncated, response_truncated, response_type
FROM read_parquet('payloads/*/[0-9]*.parquet', filename = 'source_file', hive_partitioning = false)
WHERE array_to_string(string_split(source_file, '/')[-2:], '/')
      IN (SELECT file FROM payload_files)
"""
"""Files that `payload_files` does not name are left-overs of a crash: their rows are staged."""

VERSION_1: tuple[str, ...] = (
    PREDICTIONS,
    ATTEMPTS,
    FEATURES,
    FEEDBACK,
    WATERMARKS,
    ROLLUP_COUNTS,
    ROLLUP_LATENCY,
    BASELINES,
    VERDICTS,
    ALERTS,
    DELIVERIES,
    ROLLOUT_EVENTS,
    SPOOL_LOSSES,
    PAYLOADS_RECENT,
    PAYLOAD_FILES,
    PAYLOADS,
)

VERSION_2: tuple[str, ...] = ("ALTER TABLE predictions ADD COLUMN tool_calls INTEGER",)
