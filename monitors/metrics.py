"""The one list of metric names: the gateway exports them, the dashboards query them.

Units are base units (Prometheus naming practice); label values come from the configuration or from
closed lists, so the number of series is bounded by construction.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "driftgate_"

# OTel GenAI semantic conventions, gen_ai.client.operation.duration: powers of two of 10 ms.
DURATION_BUCKETS_S = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)
OVERHEAD_BUCKETS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)
TOKEN_TIME_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family.

    Attributes
    ----------
    name : str
        Without `PREFIX`; counters without `_total`, which the exposition adds.
    buckets : tuple of float
        Upper bounds of a histogram, +Inf left out.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """Return the name of the family."""
        return PREFIX + self.name

    @property
    def series_name(self) -> str:
        """Return the name that queries use (of a histogram, without its suffix)."""
        return self.full_name + ("_total" if self.kind == "counter" else "")


_BY_VARIANT = ("route", "variant", "upstream")

REQUESTS = Metric(
    "requests", "counter", "Requests answered, by the class of the status the client got.",
    (*_BY_VARIANT, "role", "status", "reason"),
)  # fmt: skip
REQUEST_DURATION = Metric(
    "request_duration_seconds", "histogram", "Head of a request read to last byte of its answer.",
    _BY_VARIANT, DURATION_BUCKETS_S,
)  # fmt: skip
FIRST_TOKEN = Metric(
    "time_to_first_token_seconds", "histogram",
    "Head of a request read to first content of a streamed answer.",
    _BY_VARIANT, DURATION_BUCKETS_S,
)  # fmt: skip
OVERHEAD = Metric(
    "gateway_overhead_seconds", "histogram", "Time of a request not spent waiting for upstreams.",
    ("route",), OVERHEAD_BUCKETS_S,
)  # fmt: skip
TOKEN_TIME = Metric(
    "time_per_output_token_seconds", "histogram", "Of streamed answers, after the first token.",
    _BY_VARIANT, TOKEN_TIME_BUCKETS_S,
)  # fmt: skip
TOKENS = Metric(
    "tokens", "counter", "Tokens of answered requests, as the upstream counted them.",
    (*_BY_VARIANT, "direction"),
)  # fmt: skip
COST = Metric("cost_usd", "counter", "Price of the tokens, where one is configured.", _BY_VARIANT)
CACHE = Metric("cache_requests", "counter", "Requests by what the cache did.", ("route", "outcome"))
FALLBACKS = Metric(
    "fallbacks", "counter", "Answers of another upstream than the one chosen.",
    ("route", "chosen", "answered"),
)  # fmt: skip
ATTEMPTS = Metric(
    "upstream_attempts", "counter", "Tries at upstreams; reason is `none` for a success.",
    ("upstream", "reason"),
)  # fmt: skip
ATTEMPT_DURATION = Metric(
    "upstream_attempt_duration_seconds", "histogram", "Of each try, failed ones included.",
    ("upstream",), DURATION_BUCKETS_S,
)  # fmt: skip
REFUSED = Metric(
    "refused_requests", "counter", "Requests refused before they were routed; they have no record.",
    ("reason",),
)  # fmt: skip
IN_FLIGHT = Metric("in_flight_requests", "gauge", "Requests being answered now.", ("worker",))
CONNECTIONS = Metric("open_connections", "gauge", "Client connections open now.", ("worker",))
WAITING = Metric(
    "waiting_requests", "gauge", "Requests waiting for others of the worker to end.", ("worker",)
)
LOOP_LAG = Metric(
    "event_loop_lag_seconds", "gauge",
    "Longest delay of the worker's event loop in the last second.", ("worker",),
)  # fmt: skip
LOOP_LAG_MEAN = Metric(
    "event_loop_lag_mean_seconds", "gauge",
    "Mean delay of the worker's event loop in the last second.", ("worker",),
)  # fmt: skip
POOL = Metric(
    "upstream_connections", "gauge", "Connections to an upstream.", ("worker", "upstream", "state")
)
UPSTREAM_WAITING = Metric(
    "upstream_waiting_requests", "gauge", "Requests waiting for a place at a full upstream.",
    ("worker", "upstream"),
)  # fmt: skip
BREAKER = Metric(
    "breaker_open", "gauge", "1 while a worker sends an upstream nothing, 0.5 while it probes.",
    ("worker", "upstream"),
)  # fmt: skip
SHADOWS_DROPPED = Metric("shadows_dropped", "counter", "Shadow requests not sent for lack of room.")
UNLOGGED = Metric("unlogged_predictions", "counter", "Answers whose record could not be written.")
RETRIES_DENIED = Metric("retries_denied", "counter", "Repeats that the retry budget refused.")
CACHE_BYTES = Metric("cache_bytes", "gauge", "Size of the response cache.", ("worker",))
CACHE_ENTRIES = Metric("cache_entries", "gauge", "Answers in the response cache.", ("worker",))
DRIFT_EFFECT = Metric(
    "drift_effect", "gauge", "Newest measurement: PSI, KS D, W1 in sd units or JS distance.",
    ("route", "feature", "statistic"),
)  # fmt: skip
DRIFT_LEVEL = Metric(
    "drift_material_psi", "gauge", "PSI from which drift of a feature is material, as configured.",
    ("feature",),
)  # fmt: skip
DRIFT_SAMPLES = Metric(
    "drift_samples", "gauge", "Rows behind the newest measurement.", ("route", "feature", "window")
)
DRIFT_STATE = Metric(
    "drift_state", "gauge", "Newest verdict: 0 ok, 1 drift, 2 not enough data, 3 stale.",
    ("route", "feature"),
)  # fmt: skip
DRIFT_LOOK_AT = Metric(
    "drift_look_timestamp_seconds", "gauge", "When a route was last looked at.", ("route",)
)
ALERTS_OPEN = Metric(
    "alerts_open", "gauge", "Features whose episode is open since the newest look.",
    ("route", "kind"),
)  # fmt: skip
SLO_BURN_RATE = Metric(
    "slo_burn_rate", "gauge", "How fast an objective's error budget burns; 1 lasts 30 days.",
    ("route", "slo", "span"),
)  # fmt: skip
SLO_BUDGET_LEFT = Metric(
    "slo_budget_left_ratio", "gauge",
    "Part of the error budget of the last 30 days that is left; negative when overspent.",
    ("route", "slo"),
)  # fmt: skip
DELIVERIES = Metric(
    "deliveries", "counter",
    "Tries to deliver notifications; `dead` are those given up, `withheld` those never sent.",
    ("state",),
)  # fmt: skip
DELIVERIES_WAITING = Metric(
    "deliveries_waiting", "gauge",
    "Notifications that wait for their time, their receiver or the end of a silence.",
)  # fmt: skip
EMBEDDINGS = Metric(
    "embeddings", "counter",
    "Predictions drawn for `monitors.embeddings`, by what became of their texts.",
    ("route", "state"),
)  # fmt: skip
INGESTED = Metric("ingested_records", "counter", "Records written to the database.")
INGEST_LAG = Metric("ingest_lag_bytes", "gauge", "Bytes of the spool not yet in the database.")
INGEST_LAG_S = Metric(
    "ingest_lag_seconds", "gauge",
    "Since the ingest was last at the end of the spool: no record that waits is older.",
)  # fmt: skip
INGEST_FAILURES = Metric("ingest_failures", "counter", "Batches that failed and were tried again.")
TEXT_LAG_S = Metric(
    "text_lag_seconds", "gauge", "Age of the oldest text that is not in a day file yet."
)
ARCHIVE_LAG_S = Metric(
    "archive_lag_seconds", "gauge", "Age of the oldest facts that are not in the archive yet."
)
SPOOL_LOSSES = Metric(
    "spool_losses", "counter", "Torn or damaged places found in the prediction log.", ("kind",)
)
SPOOL_BYTES = Metric(
    "spool_bytes", "gauge", "Size of the spool, segments included that are read and still kept."
)
SPOOL_SHARE = Metric(
    "spool_quota_share", "gauge",
    "Spool not yet in the database, as a share of its quota: bodies go at 0.75, records at 1.",
    ("worker",),
)  # fmt: skip
SPOOL_FULL = Metric(
    "spool_full", "gauge", "1 while the spool's disk is full or failing: bodies are dropped.",
    ("worker",),
)  # fmt: skip
SPOOL_RESERVE = Metric(
    "spool_reserve_bytes", "gauge", "Space held back for facts when the disk is full.", ("worker",)
)
PAYLOADS_DROPPED = Metric(
    "payloads_dropped", "counter", "Records written without their bodies for lack of space."
)
LATE_SYNCS = Metric(
    "spool_late_syncs", "counter", "Answers sent before their record was known to be on the disk."
)
FAILED_SYNCS = Metric("spool_failed_syncs", "counter", "Syncs of the spool that failed.")
SERIES_DROPPED = Metric(
    "metrics_series_dropped", "counter",
    "Observations whose own series a full metric refused; they count under `other`.",
)  # fmt: skip
SCRAPE = Metric("scrape_duration_seconds", "gauge", "Time to render the last scrape.")
BUILD = Metric("build_info", "gauge", "Constant 1; the version is a label.", ("version",))

METRICS: tuple[Metric, ...] = (
    REQUESTS, REQUEST_DURATION, FIRST_TOKEN, OVERHEAD, TOKEN_TIME, TOKENS, COST, CACHE, FALLBACKS,
    ATTEMPTS, ATTEMPT_DURATION, REFUSED, IN_FLIGHT, WAITING, CONNECTIONS, LOOP_LAG, LOOP_LAG_MEAN,
    POOL, UPSTREAM_WAITING, BREAKER, SHADOWS_DROPPED, UNLOGGED, RETRIES_DENIED, CACHE_BYTES,
    CACHE_ENTRIES, DRIFT_EFFECT, DRIFT_LEVEL, DRIFT_SAMPLES, DRIFT_STATE, DRIFT_LOOK_AT,
    ALERTS_OPEN, SLO_BURN_RATE, SLO_BUDGET_LEFT, DELIVERIES, DELIVERIES_WAITING,
    EMBEDDINGS,
    INGESTED, INGEST_LAG, INGEST_LAG_S, INGEST_FAILURES, TEXT_LAG_S, ARCHIVE_LAG_S, SPOOL_LOSSES,
    SPOOL_BYTES, SPOOL_SHARE, SPOOL_FULL, SPOOL_RESERVE, PAYLOADS_DROPPED, LATE_SYNCS, FAILED_SYNCS,
    SERIES_DROPPED, SCRAPE, BUILD,
)  # fmt: skip
"""Every metric of the gateway."""

LABELS = {
    "route": "a key of `routes`, or `other`",
    "variant": "the upstream that the split chose: a key of `upstreams`, `none` or `other`",
    "upstream": "the upstream that answered or was tried: a key of `upstreams`, `none` or `other`",
    "role": "`primary` or `shadow`",
    "status": "`2xx`, `4xx`, `5xx`; `none` where nothing was answered",
    "reason": "`none` for success, else a word of the error's `code`",
    "direction": "`prompt` or `response`",
    "outcome": "`hit`, `miss` or `bypass`",
    "chosen": "as `variant`",
    "answered": "as `upstream`",
    "worker": "`w0`, `w1`, ...: one for each of `gateway.workers`",
    "state": (
        "connections: `in_use` or `idle`; tries: `delivered`, `failed`, `dead`, `withheld`; "
        "texts: `embedded` or `failed`"
    ),
    "feature": "a signal of `monitors`, `embedding`, `prompt_embedding` or `answer_embedding`",
    "statistic": "`psi`, `ks`, `wasserstein_sd` or `js_distance`",
    "window": "`reference` or `current`",
    "kind": (
        "alerts: what raised it, `drift`, `slo`, `quality`, `spend` or `performance`; "
        "losses of the spool: `torn`, `damaged`, `unreadable`, `undecodable`, `trimmed`, "
        "`rejected`, `unfit_features` or `other`"
    ),
    "slo": "a key of `monitors.slos`, or `errors`",
    "span": "`5m`, `30m`, `1h`, `6h`, `72h` or `720h`",
    "version": "of this program",
}
"""Label to its values: they come from the configuration or a closed list."""
