"""What an answer is worth at first sight, beside its text: more of what can be watched."""

_FLAGS = ("unknown_tool", "json_valid", "empty_output", "repeated_output")

FEATURES = """
CREATE OR REPLACE VIEW features AS
SELECT id, started_at, route, variant, upstream, coalesce(model_answered, model_asked) AS model,
    role, cache, prompt_tokens, response_tokens, prompt_chars, response_chars,
    CASE WHEN reason IS DISTINCT FROM 'interrupted' THEN latency_s END AS latency_s,
    ttft_s, time_per_output_token_s, finish_reason, language, refusal,
    CASE WHEN reason IS NOT NULL THEN reason <> 'client_closed' ELSE status >= 400 END AS error,
    reasoning_tokens, cost_usd, tool_calls, unknown_tool, json_valid, empty_output, repeated_output,
    answer_language,
    CASE WHEN try_cast(prediction AS DOUBLE) IS NULL
        OR regexp_full_match(prediction, '[+-]?[0-9]{1,3}') THEN prediction END AS prediction,
    try_cast(prediction AS DOUBLE) AS prediction_value, confidence
FROM predictions
"""
"""A prediction that is a small whole number may be a class or a count: it is watched as both."""

VERSION_10: tuple[str, ...] = tuple(
    f"ALTER TABLE predictions ADD COLUMN {name} BOOLEAN" for name in _FLAGS
)
"""Rows of older files have none of them: their text is not read again."""
VERSION_11: tuple[str, ...] = (
    "ALTER TABLE predictions ADD COLUMN IF NOT EXISTS answer_language VARCHAR",
    FEATURES,
)
