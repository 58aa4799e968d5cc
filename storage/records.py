"""The nouns of the prediction log: what is spooled, stored, read and reported.

Field, column and JSON key carry the same name. Structs are encoded as MessagePack arrays, so
fields are only ever appended, with a default: old frames then decode, and old programs skip
what they do not know. Times are integer microseconds since the Unix epoch, UTC.

What comes in thousands is left out of garbage collection (`gc=False`): a record holds no cycle.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

SCHEMA_VERSION = 1
"""Version of the frames' payload; raised by a change that appending a field cannot express."""

Role = Literal["primary", "shadow"]
CacheOutcome = Literal["hit", "miss", "bypass"]


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One try at one upstream.

    Attributes
    ----------
    attempt_no : int
        1 for the first try of a prediction.
    upstream : str
        Name from the configuration.
    started_at : int
        Microseconds since the epoch.
    latency_s : float
        From the start of the try to its last byte or its fault.
    status : int or None
        HTTP status of the upstream's answer; None when none came.
    reason : str or None
        Closed word of `router.errors.Reason`; None is success.
    ttft_s : float or None
        From the start of the try to the first content-bearing event.
    """

    attempt_no: int
    upstream: str
    started_at: int
    latency_s: float
    status: int | None = None
    reason: str | None = None
    ttft_s: float | None = None


class Begin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Written before the first byte goes to the client; alone, it becomes `interrupted`."""

    id: str
    started_at: int
    route: str
    variant: str
    upstream: str
    model_asked: str
    protocol: str
    operation: str
    tenant: str
    role: Role = "primary"
    user_key: str | None = None
    pair_id: str | None = None
    stream: bool = False
    trace_id: str | None = None
    request_bytes: int = 0


class Prediction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The facts of one accepted request: a row of `predictions`.

    Attributes
    ----------
    id : str
        UUIDv7, minted here; `x-driftgate-id` of the answer.
    started_at : int
        Microseconds since the epoch.
    route, variant, upstream : str
        Route that matched, upstream the split chose, upstream that answered ("" if none).
    model_asked, model_answered : str, str or None
        Model named by the client, by the answer.
    version : str or None
        What the upstream says of its build (`system_fingerprint`).
    user_key : str or None
        Sticky key, hashed; never the key itself.
    pair_id : str or None
        Id of the primary that a shadow repeats.
    status : int
        HTTP status given to the client.
    reason : str or None
        Closed word of what went wrong; None is success.
    prompt_tokens, response_tokens, cached_tokens, reasoning_tokens : int or None
        None is unknown, 0 is zero.
    ttft_s : float or None
        Of streams: request head read to first content-bearing event.
    latency_s, upstream_s, overhead_s : float
        Request head read to last byte; time spent waiting for upstreams; the difference.
    tool_calls : int or None
        Calls of tools that the answer asks for; None is unknown.
    """

    id: str
    started_at: int
    route: str
    variant: str
    upstream: str
    model_asked: str
    protocol: str
    operation: str
    tenant: str
    status: int
    latency_s: float
    upstream_s: float
    overhead_s: float
    role: Role = "primary"
    cache: CacheOutcome = "bypass"
    reason: str | None = None
    attempts: int = 0
    fallback_from: str | None = None
    stream: bool = False
    model_answered: str | None = None
    version: str | None = None
    user_key: str | None = None
    pair_id: str | None = None
    finish_reason: str | None = None
    truncated: bool = False
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    ttft_s: float | None = None
    time_per_output_token_s: float | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    trace_id: str | None = None
    tags: tuple[str, ...] = ()
    prediction: str | None = None
    confidence: float | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    tool_calls: int | None = None


class Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bodies as they went over the wire, cut at `record.max_payload_bytes`."""

    request: bytes
    response: bytes
    request_truncated: bool = False
    response_truncated: bool = False
    response_type: str = "application/json"


class End(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Written before the last byte goes to the client: the whole record of one request."""

    prediction: Prediction
    attempts: tuple[Attempt, ...] = ()
    payload: Payload | None = None


class Feedback(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What someone said later about a prediction: a row of `feedback`.

    Attributes
    ----------
    prediction_id : str
        `x-driftgate-id` of the answer it is about.
    given_at : int
        Microseconds since the epoch.
    score : float or None
        Any scale, the same for all feedback of a route.
    label : str or None
        The true outcome, or a category such as `good`.
    """

    prediction_id: str
    given_at: int
    tenant: str
    score: float | None = None
    label: str | None = None
    comment: str | None = None


class WorkerStats(msgspec.Struct, frozen=True, array_like=True):
    """Once a second and worker: what no record carries.

    Attributes
    ----------
    at : int
        Microseconds since the epoch.
    in_flight, open_connections : int
        Requests being answered; client connections.
    loop_lag_s : float
        Longest delay of the event loop's ticks (ten a second) since the last STATS.
    breakers : dict of str to str
        Upstream to `closed`, `open` or `half_open`.
    pools : dict of str to tuple of int
        Upstream to (connections in use, idle).
    shadows_dropped, unlogged, retries_denied : int
        Counters since the worker started.
    cache_bytes, cache_entries : int
        Sizes now.
    refused : dict of str to int
        Requests refused before they were routed, by reason, since the worker started.
    loop_lag_mean_s : float
        Mean delay of the event loop's ticks since the last STATS.
    waiting : int
        Requests waiting for others to end.
    upstream_waiting : dict of str to int
        Upstream to requests waiting for one of its places.
    payloads_dropped, late_syncs, failed_syncs : int
        Counters of the spool since the worker started.
    spool_full : bool
        Its disk is full or failing.
    reserve_bytes : int
        Space it still holds for facts.
    spool_bytes, unread_bytes : int
        Size of all workers' segments; of them, what is not in the database.
    spool_share : float
        `unread_bytes` as a share of `record.spool_bytes`; 0 without such a bound.
    """

    worker: str
    at: int
    in_flight: int = 0
    open_connections: int = 0
    loop_lag_s: float = 0.0
    breakers: dict[str, str] = {}
    pools: dict[str, tuple[int, int]] = {}
    shadows_dropped: int = 0
    unlogged: int = 0
    cache_bytes: int = 0
    cache_entries: int = 0
    retries_denied: int = 0
    refused: dict[str, int] = {}
    loop_lag_mean_s: float = 0.0
    waiting: int = 0
    upstream_waiting: dict[str, int] = {}
    payloads_dropped: int = 0
    late_syncs: int = 0
    failed_syncs: int = 0
    spool_full: bool = False
    reserve_bytes: int = 0
    spool_bytes: int = 0
    unread_bytes: int = 0
    spool_share: float = 0.0


InputValue = float | int | bool | str | None
InputRow = dict[str, InputValue]
"""What a predictive model was asked with: feature to value, None where it was not told."""


class Signals(msgspec.Struct, frozen=True, gc=False):
    """What can be watched of one prediction, computed from its record at ingest: `features`.

    Numbers are None where unknown; a category is None where it cannot be told.

    Attributes
    ----------
    inputs : sequence of dict
        Rows that the request asks a predictive model about.
    unknown_tool, json_valid, empty_output, repeated_output : bool or None
        The answer calls a tool that the request did not lend; is the JSON that was asked for; has
        no words and calls no tool; repeats itself without end.
    language, answer_language : str or None
        Of the prompt, else of the answer; of the answer: ISO 639-1, `other` for one not known.
    prediction, confidence : str or None, float or None
        What a predictive model answered, where the record does not say so itself.
    """

    id: str
    prompt_chars: int | None = None
    response_chars: int | None = None
    language: str | None = None
    refusal: bool | None = None
    error: bool = False
    inputs: Sequence[InputRow] = ()
    unknown_tool: bool | None = None
    json_valid: bool | None = None
    empty_output: bool | None = None
    repeated_output: bool | None = None
    answer_language: str | None = None
    prediction: str | None = None
    confidence: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """One look of one monitor at one feature: a row of `verdicts`.

    Attributes
    ----------
    monitor : str
        `drift`, `quality`, `slo` or `spend`.
    verdict : str
        `ok`, `drift`, `breach` (of what is no drift), `not_enough_data` or `stale`.
    statistic, value, low, high : str, float or None, float or None, float or None
        Effect measured, with its 95 % interval.
    threshold : float or None
        Calibrated level of the evidence statistic.
    n_reference, n_current : int
        Rows compared.
    details : dict
        Every statistic computed (name to number), contributions of bins or categories.
    segment : str
        `key=value`, such as `variant=candidate`; empty is all rows of the route.
    """

    id: str
    at: int
    monitor: str
    route: str
    feature: str
    kind: Literal["numeric", "categorical"]
    verdict: Literal["ok", "drift", "breach", "not_enough_data", "stale"]
    severity: Literal["none", "warning", "critical"]
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    n_reference: int
    n_current: int
    window_from: int
    window_to: int
    baseline: str
    details: dict[str, object] = {}
    segment: str = ""


class Baseline(msgspec.Struct, frozen=True):
    """A named, versioned reference: never replaced silently.

    Attributes
    ----------
    cells : dict
        Feature to the JSON form of its cells and the reference's counts over them.
    source : dict
        Where its rows came from: `kind` and what that kind needs to say.
    """

    name: str
    version: int
    created_at: int
    window_from: int
    window_to: int
    route: str
    rows: int
    cells: dict[str, object]
    source: dict[str, object] = {}


class Alert(msgspec.Struct, frozen=True):
    """An episode: opened once, resolved once, delivered at least once each: a row of `alerts`."""

    id: str
    kind: str
    route: str
    subject: str
    state: Literal["open", "resolved"]
    severity: Literal["warning", "critical"]
    opened_at: int
    updated_at: int
    resolved_at: int | None
    summary: str
    data: dict[str, object]


class Delivery(msgspec.Struct, frozen=True):
    """One notification of the durable outbox: a row of `deliveries`.

    Attributes
    ----------
    id : str
        `webhook-id`: the same on every retry.
    state : str
        `pending`, `delivered`, `dead` (given up), or `withheld` (not sent: `last_error` says why).
    next_at : int
        Microseconds since the epoch of the next try.
    """

    id: str
    alert_id: str
    event: str
    channel: str
    body: bytes
    state: Literal["pending", "delivered", "dead", "withheld"]
    created_at: int
    next_at: int
    tries: int = 0
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: int | None = None
