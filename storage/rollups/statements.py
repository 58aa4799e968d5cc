"""What is counted of a row: one definition for a batch, a rebuilt day and the edge of a window.

Every definition is a SELECT over `predictions` or `attempts` with the rows left open; `Rows` says
which. Named parameters: `$low` and `$high` of the rows, `$hours` for the time before which a slot
is an hour.
"""

from collections.abc import Sequence
from typing import NamedTuple

from storage.rollups.buckets import bucket_sql
from storage.rows import INTERRUPTED

SLOT_S = 300
HOUR_S = 3600
VALUE_CHARS = 64
"""Longer values of a category are cut."""

ATTEMPT_LATENCY = "attempt_latency_s"


class Rows(NamedTuple):
    """Which rows of the facts are counted, as a condition over `$low` and `$high`.

    Attributes
    ----------
    facts : str
        Where the predictions of rows of inputs are, if not among the rows of `where`.
    """

    where: str
    facts: str = ""


BATCHES = Rows("batch >= $low AND batch <= $high")
STARTED = Rows("started_at >= $low AND started_at < $high")

_GRAIN = f"CASE WHEN started_at < $hours THEN {HOUR_S} ELSE {SLOT_S} END"
SLOT = (
    f"CASE WHEN started_at < $hours THEN time_bucket(INTERVAL {HOUR_S} SECOND, started_at)"
    f' ELSE time_bucket(INTERVAL {SLOT_S} SECOND, started_at) END AS "at", {_GRAIN} AS grain_s'
)
_MODEL = "coalesce(model_answered, model_asked) AS model"
_KNOWN_TIME = f"CASE WHEN reason IS DISTINCT FROM '{INTERRUPTED}' THEN {{}} END"
_ERROR = "CASE WHEN reason IS NOT NULL THEN reason <> 'client_closed' ELSE status >= 400 END"
# A small whole number may be a class or a count: it is watched as both.
_CLASS = (
    "try_cast(prediction AS DOUBLE) IS NULL OR regexp_full_match(prediction, '[+-]?[0-9]{1,3}')"
)

NUMBERS: dict[str, str] = {
    "latency_s": _KNOWN_TIME.format("latency_s"),
    "ttft_s": "ttft_s",
    "overhead_s": _KNOWN_TIME.format("overhead_s"),
    "time_per_output_token_s": "time_per_output_token_s",
    "prompt_tokens": "prompt_tokens",
    "response_tokens": "response_tokens",
    "prompt_chars": "prompt_chars",
    "response_chars": "response_chars",
    "reasoning_tokens": "reasoning_tokens",
    "cost_usd": "cost_usd",
    "tool_calls": "tool_calls",
    "prediction_value": "try_cast(prediction AS DOUBLE)",
    "confidence": "confidence",
}
"""Measure to its expression over `predictions`; NULL is unknown."""

WORDS: dict[str, str] = {
    "finish_reason": "finish_reason",
    "language": "language",
    "answer_language": "answer_language",
    "refusal": "refusal::VARCHAR",
    "error": f"({_ERROR})::VARCHAR",
    "cache": "cache",
    "unknown_tool": "unknown_tool::VARCHAR",
    "json_valid": "json_valid::VARCHAR",
    "empty_output": "empty_output::VARCHAR",
    "repeated_output": "repeated_output::VARCHAR",
    "prediction": f"(CASE WHEN {_CLASS} THEN prediction END)",
}
"""Category to its expression over `predictions`; NULL is unknown."""

SEGMENT_KEYS: dict[str, str] = {
    "variant": "variant",
    "model": "coalesce(model_answered, model_asked)",
    "version": "version",
    "tenant": "tenant",
    "language": "language",
    "tag": "tags",
}
"""Key of a segment to its expression over `predictions`; `tag` is a list, the others are texts."""

SLOT_KEYS = '"at", grain_s, route, variant, upstream, model, role'
COUNT_KEYS = f"{SLOT_KEYS}, cache, status, reason, stream, fallback"
VALUE_KEYS = f"{SLOT_KEYS}, measure, bucket"
CATEGORY_KEYS = f"{SLOT_KEYS}, feature, value"
ATTEMPT_KEYS = '"at", grain_s, route, upstream, role'
CELL_KEYS = '"at", grain_s, route, feature, baseline, cell'
SEGMENT_CELL_KEYS = '"at", grain_s, route, segment, feature, baseline, cell'

COUNT_SUMS = (
    "n", "truncated", "attempts", "prompt_tokens", "response_tokens", "cached_tokens",
    "reasoning_tokens", "prompt_known", "response_known", "cached_known", "reasoning_known",
    "cost_nano_usd", "cost_known", "request_bytes", "response_bytes",
)  # fmt: skip
ATTEMPT_SUMS = ("n", "failed", "retries")


def count_rows(rows: Rows) -> str:
    """Return one row of `rollup_counts` for every prediction."""
    known = "isfinite(cost_usd)"
    return f"""
    SELECT {SLOT}, route, variant, upstream, {_MODEL}, role, cache, status::SMALLINT AS status,
        coalesce(reason, '') AS reason, stream, fallback_from IS NOT NULL AS fallback,
        1 AS n, truncated::INTEGER AS truncated, attempts,
        coalesce(prompt_tokens, 0) AS prompt_tokens,
        coalesce(response_tokens, 0) AS response_tokens,
        coalesce(cached_tokens, 0) AS cached_tokens,
        coalesce(reasoning_tokens, 0) AS reasoning_tokens,
        (prompt_tokens IS NOT NULL)::INTEGER AS prompt_known,
        (response_tokens IS NOT NULL)::INTEGER AS response_known,
        (cached_tokens IS NOT NULL)::INTEGER AS cached_known,
        (reasoning_tokens IS NOT NULL)::INTEGER AS reasoning_known,
        CASE WHEN {known} THEN round(cost_usd * 1e9)::HUGEINT ELSE 0 END AS cost_nano_usd,
        coalesce({known}, false)::INTEGER AS cost_known, request_bytes, response_bytes,
        started_at AS first_at, started_at AS last_at
    FROM predictions WHERE {rows.where}
    """  # noqa: S608 (expressions of this file)


def value_rows(rows: Rows, measures: Sequence[str] = (*NUMBERS, ATTEMPT_LATENCY)) -> str:
    """Return a row (slot, measure, bucket) for every number of every prediction and try."""
    parts = []
    chosen = {name: NUMBERS[name] for name in measures if name in NUMBERS}
    if chosen or ATTEMPT_LATENCY not in measures:
        names = ", ".join(f"'{name}'" for name in chosen)
        numbers = ", ".join(f"({number})::DOUBLE" for number in chosen.values())
        parts.append(
            f"SELECT {SLOT}, route, variant, upstream, {_MODEL}, role,"  # noqa: S608 (expressions of this file)
            f" unnest([{names}]::VARCHAR[]) AS measure, unnest([{numbers}]::DOUBLE[]) AS number"
            f" FROM predictions WHERE {rows.where}"
        )
    if ATTEMPT_LATENCY in measures:
        parts.append(
            f"SELECT {SLOT}, route, '' AS variant, upstream, '' AS model, role,"  # noqa: S608 (as above)
            f" '{ATTEMPT_LATENCY}' AS measure, latency_s AS number"
            f" FROM attempts WHERE {rows.where}"
        )
    return (
        f"SELECT {SLOT_KEYS}, measure, {bucket_sql('number')} AS bucket"  # noqa: S608 (as above)
        f" FROM ({' UNION ALL '.join(parts)})"
    )


def category_rows(rows: Rows, features: Sequence[str] = tuple(WORDS)) -> str:
    """Return a row (slot, feature, value) for every category of every prediction."""
    chosen = {name: WORDS[name] for name in features if name in WORDS}
    names = ", ".join(f"'{name}'" for name in chosen)
    words = ", ".join(chosen.values())
    return f"""
    SELECT {SLOT_KEYS}, feature, left(word, {VALUE_CHARS}) AS value FROM (
        SELECT {SLOT}, route, variant, upstream, {_MODEL}, role,
            unnest([{names}]::VARCHAR[]) AS feature, unnest([{words}]::VARCHAR[]) AS word
        FROM predictions WHERE {rows.where})
    """  # noqa: S608 (expressions of this file)


def attempt_rows(rows: Rows) -> str:
    """Return one row of `rollup_attempts` for every try."""
    return f"""
    SELECT {SLOT}, route, upstream, role, 1 AS n, (reason IS NOT NULL)::INTEGER AS failed,
        (attempt_no > 1)::INTEGER AS retries
    FROM attempts WHERE {rows.where}
    """  # noqa: S608 (expressions of this file)


def _summed(names: tuple[str, ...]) -> str:
    return ", ".join(f"sum({name}) AS {name}" for name in names)


COUNT_AGGREGATES = f"{_summed(COUNT_SUMS)}, min(first_at) AS first_at, max(last_at) AS last_at"
ATTEMPT_AGGREGATES = _summed(ATTEMPT_SUMS)


class Rollup(NamedTuple):
    """One roll-up table.

    Attributes
    ----------
    keys : str
        Columns that tell its rows apart, `at` and `grain_s` first.
    sums : str
        How rows of the same key are added up.
    counted : str
        How rows of the facts are: `rows` are one a fact and carry no `n` if this is `count(*)`.
    """

    table: str
    keys: str
    sums: str
    counted: str


COUNTS = Rollup("rollup_counts", COUNT_KEYS, COUNT_AGGREGATES, COUNT_AGGREGATES)
VALUES = Rollup("rollup_values", VALUE_KEYS, "sum(n) AS n", "count(*) AS n")
CATEGORIES = Rollup("rollup_categories", CATEGORY_KEYS, "sum(n) AS n", "count(*) AS n")
ATTEMPTS = Rollup("rollup_attempts", ATTEMPT_KEYS, ATTEMPT_AGGREGATES, ATTEMPT_AGGREGATES)
CELLS = Rollup("rollup_cells", CELL_KEYS, "sum(n) AS n", "count(*) AS n")
SEGMENTS = Rollup("rollup_segments", SEGMENT_CELL_KEYS, "sum(n) AS n", "count(*) AS n")
FROM_FACTS = (COUNTS, VALUES, CATEGORIES, ATTEMPTS)
"""Roll-ups that are counted whatever baselines there are."""
ROLLUPS = (*FROM_FACTS, CELLS, SEGMENTS)


def rows_of(rollup: Rollup, rows: Rows) -> str:
    """Return the SELECT that gives the rows of one of `FROM_FACTS`, not added up."""
    selects = {
        COUNTS: count_rows,
        VALUES: value_rows,
        CATEGORIES: category_rows,
        ATTEMPTS: attempt_rows,
    }
    return selects[rollup](rows)


def insert(rollup: Rollup, rows: Rows) -> str:
    """Return the statement that counts rows of the facts into a roll-up."""
    return (
        f"INSERT INTO {rollup.table} SELECT {rollup.keys}, {rollup.counted}"  # noqa: S608 (names of this file)
        f" FROM ({rows_of(rollup, rows)}) GROUP BY {rollup.keys}"
    )
