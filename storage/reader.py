"""Windowed reads of rows: counts, columns, whole records, over a connection, without statistics.

Every function takes a connection that `Database.cursor` or `Repository.reading` lends, and gives
plain values back: dictionaries with the column names as keys, lists, numpy arrays. Windows are
closed at the start and open at the end. A `role` of None means primary rows and shadows.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
import numpy as np
import numpy.typing as npt

from storage.features.counting import INPUT
from storage.features.reading import input_rows
from storage.rows import INTERRUPTED
from storage.text.lookup import text_of
from storage.times import from_timestamp, to_timestamp

NUMERIC_FEATURES = (
    "prompt_tokens",
    "response_tokens",
    "prompt_chars",
    "response_chars",
    "latency_s",
    "ttft_s",
    "time_per_output_token_s",
    "reasoning_tokens",
    "cost_usd",
    "tool_calls",
    "prediction_value",
    "confidence",
)
CATEGORY_FEATURES = (
    "finish_reason",
    "language",
    "answer_language",
    "refusal",
    "error",
    "cache",
    "unknown_tool",
    "json_valid",
    "empty_output",
    "repeated_output",
    "prediction",
)

Column = npt.NDArray[np.float64] | list[str | None]
Record = dict[str, Any]


class Window(NamedTuple):
    """Microseconds since the epoch: [from_us, to_us)."""

    from_us: int
    to_us: int


class Scope(NamedTuple):
    """Which rows a read is about; None is any.

    Attributes
    ----------
    model : str or None
        The model that answered, or was asked for where none answered.
    """

    window: Window
    route: str | None = None
    model: str | None = None
    variant: str | None = None
    role: str | None = "primary"


_FILTER = (
    "started_at >= $1 AND started_at < $2 AND ($3 IS NULL OR route = $3)"
    " AND ($4 IS NULL OR coalesce(model_answered, model_asked) = $4)"
    " AND ($5 IS NULL OR variant = $5) AND ($6 IS NULL OR role = $6)"
)
_GROUP = "route, variant, role"
_FAILED = "reason IS NOT NULL AND reason <> 'client_closed' AND status NOT BETWEEN 400 AND 499"


def traffic(connection: duckdb.DuckDBPyConnection, scope: Scope) -> list[Record]:
    """Count requests, failures, tokens, cost, cache hits and fallbacks by route and variant.

    Returns
    -------
    list of dict
        `failed` are requests that went wrong on our side of the client: a reason, no 4xx, the
        client still there. Token and cost sums are None when no row knows them; `*_known` says
        how many do.
    """
    return _records(
        connection,
        f"""
        SELECT {_GROUP}, count(*) AS n,
            count_if({_FAILED}) AS failed,
            count_if(status BETWEEN 400 AND 499) AS refused,
            count_if(reason IS NOT DISTINCT FROM 'client_closed') AS client_closed,
            count_if(reason IS NOT DISTINCT FROM '{INTERRUPTED}') AS interrupted,
            count_if(fallback_from IS NOT NULL) AS fallbacks,
            count_if(stream) AS streams, count_if(truncated) AS truncated,
            count_if(cache = 'hit') AS cache_hits, count_if(cache = 'miss') AS cache_misses,
            sum(attempts)::BIGINT AS attempts,
            sum(prompt_tokens)::DOUBLE AS prompt_tokens,
            sum(response_tokens)::DOUBLE AS response_tokens,
            sum(cached_tokens)::DOUBLE AS cached_tokens,
            sum(reasoning_tokens)::DOUBLE AS reasoning_tokens,
            count(response_tokens) AS tokens_known,
            sum(cost_usd) AS cost_usd, count(cost_usd) AS cost_known,
            epoch_us(min(started_at)) AS first_at, epoch_us(max(started_at)) AS last_at
        FROM predictions WHERE {_FILTER} GROUP BY {_GROUP} ORDER BY {_GROUP}
        """,  # noqa: S608 (names and words of this file)
        scope,
    )


def feature_columns(
    connection: duckdb.DuckDBPyConnection,
    route: str,
    features: Sequence[str],
    window: Window,
    *,
    variant: str | None = None,
) -> dict[str, Column]:
    """Return columns over the primary rows of a route, all in the same order: by start, then id.

    Where inputs of models (`input.<name>`) are among the features, the rows are those of the
    inputs: a request that asks about several has several, one without them has none.

    Returns
    -------
    dict of str to ndarray of float64, shape (rows,), or list of str or None
        Numbers with NaN for unknown; categories with None, `true` and `false` for flags.

    Raises
    ------
    KeyError
        A name is no feature.
    """
    if not features:
        return {}
    numeric = dict.fromkeys(NUMERIC_FEATURES, True)
    names = [name for name in features if name.startswith(INPUT)]
    join, order = "", ""
    if names:
        inputs = input_rows(connection, names)
        numeric |= inputs.numeric
        join = f"JOIN ({inputs.query}) ON prediction_id = features.id"
        order = ", row_no"
    places = {name: f"input_{number}" for number, name in enumerate(dict.fromkeys(names))}
    selected = ", ".join(
        f"{places.get(name) or _feature_expression(name)} AS c{number}"
        for number, name in enumerate(features)
    )
    found = connection.execute(
        f"""
        SELECT {selected} FROM features {join}
        WHERE features.started_at >= $1 AND features.started_at < $2 AND features.route = $3
            AND features.role = 'primary' AND ($4 IS NULL OR features.variant = $4)
        ORDER BY features.started_at, features.id{order}
        """,  # noqa: S608 (checked names)
        [*_bounds(window), route, variant],
    ).fetchnumpy()
    return {
        name: column_from(found[f"c{number}"], is_number=name in numeric and numeric[name])
        for number, name in enumerate(features)
    }


def _feature_expression(name: str) -> str:
    if name in NUMERIC_FEATURES:
        return f"features.{name}::DOUBLE"
    if name in CATEGORY_FEATURES:
        return f"features.{name}::VARCHAR"
    known = ", ".join((*NUMERIC_FEATURES, *CATEGORY_FEATURES))
    raise KeyError(
        f"`{name}` is no feature; the features are {known}, and `{INPUT}<name>` for the inputs of"
        " predictive models"
    )


def column_from(values: npt.NDArray[Any], *, is_number: bool) -> Column:
    """Return a column as it was fetched: numbers with NaN, others with None for unknown."""
    if is_number:
        return np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    return words_from(values)


def words_from(values: npt.NDArray[Any]) -> list[str | None]:
    """Return a column of text as it was fetched, with None for unknown."""
    found: list[str | None] = values.tolist()
    return found


def record(connection: duckdb.DuckDBPyConnection, prediction_id: str) -> Record | None:
    """Return one prediction with its `attempt_list`, `payload` (or None) and `feedback`."""
    found = _rows(connection, "SELECT * FROM predictions WHERE id = ?::UUID", [prediction_id])
    if not found:
        return None
    wanted = [prediction_id]
    return {
        **found[0],
        "attempt_list": _rows(
            connection,
            "SELECT attempt_no, upstream, started_at, latency_s, status, reason, ttft_s"
            " FROM attempts WHERE prediction_id = ?::UUID ORDER BY attempt_no",
            wanted,
        ),
        "payload": text_of(connection, _data_dir(connection), found[0]),
        "feedback": _rows(
            connection,
            "SELECT given_at, tenant, score, label, comment FROM feedback"
            " WHERE prediction_id = ?::UUID ORDER BY given_at",
            wanted,
        ),
    }


def _data_dir(connection: duckdb.DuckDBPyConnection) -> Path:
    # Where relative paths start, as those of the view `payloads` do.
    (folder,) = connection.execute("SELECT current_setting('file_search_path')").fetchall()[0]
    return Path(folder)


def losses(connection: duckdb.DuckDBPyConnection, window: Window) -> list[Record]:
    """Count what recovery found lost in a window, by kind."""
    return _rows(
        connection,
        "SELECT kind, count(*) AS n, sum(frames)::BIGINT AS frames, sum(bytes)::BIGINT AS bytes"
        " FROM spool_losses WHERE found_at >= ? AND found_at < ? GROUP BY kind ORDER BY kind",
        _bounds(window),
    )


def _bounds(window: Window) -> list[object]:
    return [to_timestamp(window.from_us), to_timestamp(window.to_us)]


def _records(
    connection: duckdb.DuckDBPyConnection, statement: str, scope: Scope, *more: object
) -> list[Record]:
    chosen = [scope.route, scope.model, scope.variant, scope.role]
    return _rows(connection, statement, [*_bounds(scope.window), *chosen, *more])


def _rows(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Sequence[object]
) -> list[Record]:
    result = connection.execute(statement, list(values))
    names = [column[0] for column in result.description or ()]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in result.fetchall()
    ]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return from_timestamp(value)
    return str(value) if isinstance(value, UUID) else value
