"""Records, worker reports and verdicts as a busy gateway would hand them to its metrics."""

import random

from support.log_records import NOW, end_of

from gateway.config import Settings
from gateway.delivery import DeliveryStatistics
from gateway.embedding_work import EmbeddingStatistics
from gateway.telemetry import Telemetry
from monitors.signals.table import SIGNALS
from monitors.slo.burn import BUDGET_S, WINDOWS_S
from router.config import CacheConfig, RouteConfig, UpstreamConfig
from storage.ingest import IngestStatistics
from storage.records import Attempt, End, Verdict, WorkerStats
from storage.writer import Loss

SECOND_US = 1_000_000


def settings_of(*upstreams: str, routes: tuple[str, ...] = ("chat",)) -> Settings:
    """Return a configuration in which the first upstream is split to and the others fall back."""
    names = upstreams or ("primary", "spare")
    return Settings(
        upstreams={name: UpstreamConfig(name=name, url=f"http://{name}/v1") for name in names},
        routes={
            route: RouteConfig(
                name=route,
                split={names[0]: 1.0},
                fallback=names[1:],
                cache=CacheConfig(ttl=60.0),
            )
            for route in routes
        },
    )


def ends_of(count: int, *, seed: int = 1) -> list[End]:
    """Return records of streams, plain answers, cache hits, errors, fallbacks and shadows."""
    rng = random.Random(seed)
    return [_end(number, rng) for number in range(count)]


def _end(number: int, rng: random.Random) -> End:
    kind = number % 10
    latency_s = rng.lognormvariate(-1.0, 0.6)
    facts: dict[str, object] = {
        "latency_s": latency_s,
        "upstream_s": latency_s - 0.001,
        "overhead_s": 0.001 * rng.random(),
        "stream": kind < 5,
        "ttft_s": 0.3 * latency_s,
        "time_per_output_token_s": 0.02 * rng.random() if kind < 5 else None,
        "cache": "miss",
    }
    attempts = [Attempt(1, "primary", NOW, latency_s - 0.001, 200)]
    if kind == 6:
        facts |= {"cache": "hit"}
        attempts = []
    elif kind == 7:
        facts |= {"upstream": "spare", "fallback_from": "primary", "attempts": 2}
        attempts = [
            Attempt(1, "primary", NOW, 0.1, 503, "upstream_error"),
            Attempt(2, "spare", NOW, 0.3, 200),
        ]
    elif kind == 8:
        facts |= {"status": 502, "reason": "upstream_unreachable", "upstream": ""}
        attempts = [Attempt(1, "primary", NOW, 2.0, None, "upstream_unreachable")]
    elif kind == 9:
        facts |= {"role": "shadow", "pair_id": "x"}
    end = end_of(number, text=False, **facts)
    return End(end.prediction, tuple(attempts))


def stats_of(at: int, *, worker: str = "w0", counted: int = 3) -> WorkerStats:
    """Return one worker's report."""
    return WorkerStats(
        worker=worker,
        at=at,
        in_flight=2,
        open_connections=5,
        loop_lag_s=0.002,
        breakers={"primary": "open", "spare": "closed"},
        pools={"primary": (2, 3), "spare": (0, 1)},
        shadows_dropped=counted,
        unlogged=counted,
        cache_bytes=1000,
        cache_entries=10,
        retries_denied=counted,
        refused={"invalid_api_key": counted, "overloaded": counted},
        loop_lag_mean_s=0.001,
        waiting=4,
        upstream_waiting={"primary": 6},
    )


def verdict_of(feature: str, *, at: int = NOW, route: str = "chat", **more: object) -> Verdict:
    """Return a verdict that saw drift; `more` replaces its fields."""
    fields: dict[str, object] = {
        "id": f"v-{feature}-{at}",
        "at": at,
        "monitor": "drift",
        "route": route,
        "feature": feature,
        "kind": "numeric",
        "verdict": "drift",
        "severity": "warning",
        "statistic": "psi",
        "value": 0.31,
        "low": 0.2,
        "high": 0.4,
        "threshold": 0.05,
        "n_reference": 5000,
        "n_current": 800,
        "window_from": at - 3600 * SECOND_US,
        "window_to": at,
        "baseline": "default@1",
        "details": {"open": True, "ks": 0.2, "wasserstein_sd": 0.4, "js_distance": 0.1},
    }
    return Verdict(**(fields | more))  # type: ignore[arg-type]  # fields of mixed types


def slo_verdict_of(*, at: int = NOW, route: str = "chat", is_open: bool = True) -> Verdict:
    """Return a verdict on an objective whose last hour burns at 20."""
    windows = [
        {"window_s": s, "n": 100, "bad": 20, "burn_rate": 20.0} for s in (*WINDOWS_S, BUDGET_S)
    ]
    return verdict_of(
        "errors",
        at=at,
        route=route,
        monitor="slo",
        statistic="burn_rate",
        verdict="breach" if is_open else "ok",
        details={"open": is_open, "windows": windows, "budget_left": 0.25},
    )


def feed(telemetry: Telemetry, turn: int, now_us: int) -> None:
    """Hand over what a second of traffic leaves behind."""
    telemetry.observe(ends_of(40, seed=turn))
    telemetry.observe_stats([stats_of(now_us, counted=3 + turn)])
    telemetry.observe_verdicts([verdict_of(signal.name, at=now_us) for signal in SIGNALS])
    telemetry.observe_breaches([slo_verdict_of(at=now_us)])
    telemetry.observe_embeddings("chat", EmbeddingStatistics(embedded=turn, failed=turn))
    telemetry.set_ingest(IngestStatistics(40 * turn, 90 * turn, turn, turn))
    telemetry.set_lag(lag_bytes=4096, lag_s=0.5)
    telemetry.observe_losses([Loss("w0-1-1", 0, 512, "torn", 0, 9)])
    telemetry.set_archives(text_lag_s=20.0, facts_lag_s=30.0)
    telemetry.set_deliveries(DeliveryStatistics(delivered=turn, failed=turn, dead=turn))
