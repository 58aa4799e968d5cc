"""Facts, signals and where a record stands in the spool, in one table."""

from storage.schema import PREDICTIONS

_OLD_PREDICTIONS = "ALTER TABLE predictions RENAME TO predictions_2"
_OLD_FEATURES = "ALTER TABLE features RENAME TO features_2"

# An ALTER of a table that the same transaction fills is refused, so the table is made whole.
_NEW_PREDICTIONS = PREDICTIONS.rstrip().removesuffix(")") + (
    ", tool_calls INTEGER, prompt_chars BIGINT, response_chars BIGINT, language VARCHAR,"
    " refusal BOOLEAN, batch BIGINT NOT NULL, source VARCHAR, segment BIGINT,"
    " byte_offset BIGINT, has_payload BOOLEAN)"
)

# Rows keep their order: zone maps of `started_at` are what makes windows cheap.
_CARRY_OVER = """
INSERT INTO predictions
SELECT p.*, f.prompt_chars, f.response_chars, f.language, f.refusal, 0, NULL, NULL, NULL, NULL
FROM predictions_2 p LEFT JOIN features_2 f ON f.id = p.id
ORDER BY p.rowid
"""

FEATURES = """
CREATE VIEW features AS
SELECT id, started_at, route, variant, upstream, coalesce(model_answered, model_asked) AS model,
    role, cache, prompt_tokens, response_tokens, prompt_chars, response_chars,
    CASE WHEN reason IS DISTINCT FROM 'interrupted' THEN latency_s END AS latency_s,
    ttft_s, time_per_output_token_s, finish_reason, language, refusal,
    CASE WHEN reason IS NOT NULL THEN reason <> 'client_closed' ELSE status >= 400 END AS error
FROM predictions
"""
"""What can be watched of a prediction."""

LOG_STATE = "CREATE TABLE log_state (name VARCHAR NOT NULL, value BIGINT NOT NULL)"
"""Small counters; `batch` is the number of the transaction that wrote the newest rows."""

VERSION_3: tuple[str, ...] = (
    _OLD_PREDICTIONS,
    _OLD_FEATURES,
    _NEW_PREDICTIONS,
    _CARRY_OVER,
    "DROP TABLE predictions_2",
    "DROP TABLE features_2",
    FEATURES,
    "ALTER TABLE attempts ADD COLUMN batch BIGINT DEFAULT 0",
    "ALTER TABLE feedback ADD COLUMN batch BIGINT DEFAULT 0",
    LOG_STATE,
    "INSERT INTO log_state VALUES ('batch', 0)",
)
