"""A report with every part, made without a log."""

import math

from monitors.report.model import (
    DataQuality,
    Finding,
    MissingShare,
    Percentiles,
    ReasonCount,
    Report,
    ReportedAlert,
    RouteTotal,
    SpoolLoss,
    Traffic,
    Upstream,
)
from monitors.report.parts import (
    BaselineInForce,
    Bin,
    Check,
    Difference,
    Interval,
    Rollout,
    Step,
    Timeline,
)
from monitors.report.performance_model import (
    Calibration,
    ClassOutcome,
    ConfidenceBin,
    Estimated,
    Gap,
    Outcome,
    Performance,
)

HOUR = 3_600_000_000
START = 1_795_000_000_000_000 // (2 * HOUR) * 2 * HOUR
WEEK = Interval(START, START + 7 * 24 * HOUR)
_NAMES = (
    *("prompt_tokens", "response_tokens", "prompt_chars", "response_chars", "latency_s", "ttft_s"),
    *("time_per_output_token_s", "finish_reason", "language", "refusal", "error"),
)


def full_report(features: int = 11, *, category: str = "stop") -> Report:
    """Return a report of a week; `category` is a stranger's word in every place that takes one."""
    traffic = (
        _traffic("chat", "primary", 41_873, 97),
        _traffic("chat", "candidate", 2_204, 31),
        _traffic("churn", "primary", 9_310, 0),
    )
    return Report(
        version=1,
        generated_at=WEEK.to_us,
        interval=WEEK,
        route=None,
        model=None,
        requests=53_387,
        routes=(_total("chat", 44_077, 128), _total("churn", 9_310, 0)),
        traffic=traffic,
        upstreams=(Upstream("openai", "primary", 53_999, 812, 812 / 53_999, 612, 0.71, 2.63),),
        drift=tuple(_finding(number, category) for number in range(features)),
        alerts=(
            ReportedAlert(
                *("a-1", "drift.opened", "chat", "drift", "open", "critical"),
                *(START + 100 * HOUR, None, f"drift of prompt_tokens: `{category}` moved"),
                onset_at=START + 97 * HOUR,
            ),
        ),
        data_quality=DataQuality(
            *(3, 41, 977, (SpoolLoss("torn", 1, 2, 173),)),
            missing=(MissingShare("chat", "ttft_s", 44_077, 1_203, 1_203 / 44_077),),
        ),
        notes=(f"a note about {category}",),
        exact=False,
        relative_error=0.00995,
        slos=(_check("slo", "availability", "burn_rate", 6.31, category),),
        quality=(_check("quality", "input.age", "missing_rate", 0.0731, category),),
        spend=(_check("spend", "usd_per_day", "usd", 61.7, category),),
        rollouts=(Rollout(START + 30 * HOUR, "chat", "step", "operator", f"{category} to 5 %"),),
        differences=(
            _difference("error_share", (0.0023, 0.0141, 0.0118, 0.0049, 0.0212)),
            _difference("latency_s", (0.731, 0.702, -0.029, -0.066, 0.008)),
            _difference("score", (4.31, 4.02, -0.29, -0.47, -0.11)),
        ),
        baselines=(
            BaselineInForce(
                *("chat", "default", 3, START, "automatic", Interval(START - 72 * HOUR, START)),
                *(20_517, features),
            ),
        ),
        performance=(_performance(category),),
        performance_checks=(
            _check("performance", "accuracy", "accuracy_change", -0.0671, category),
        ),
        timeline=Timeline(7200.0, tuple(_step(n, r) for n in range(84) for r in ("chat", "churn"))),
    )


def _traffic(route: str, variant: str, n: int, errors: int) -> Traffic:
    times = Percentiles(n, 0.7312, 2.6135, 5.127)
    return Traffic(
        *(route, variant, "primary", n, errors, errors / n, errors / n * 0.7, errors / n * 1.4),
        *(19, 7, 3, 23, n // 2, 61, n + 53, n // 7, n // 3),
        0.3,
        *(n * 187.0, n * 61.0, n * 12.0, None, n - 41, n * 0.00173, n - 97, times),
        *(Percentiles(n // 2, 0.1713, 0.4019, 0.9221), Percentiles(n, 0.0021, 0.0087, 0.0311)),
        reasons=(ReasonCount("upstream_error", 502, errors),) if errors else (),
        first_at=WEEK.from_us + 1,
        last_at=WEEK.to_us - 1,
    )


def _total(route: str, n: int, errors: int) -> RouteTotal:
    share = errors / n
    return RouteTotal(route, n, errors, share, share * 0.8, share * 1.2, n * 0.00173, 0.729, 2.58)


def _finding(number: int, category: str) -> Finding:
    feature = _NAMES[number] if number < len(_NAMES) else f"input.feature_{number}"
    moved = number % 5 == 0
    value = 0.312 + number / 100 if moved else 0.004 + number / 2000
    cells = [category if number % 7 == 0 else "below 12", *(f"[{n}, {n + 9})" for n in range(11))]
    shift = 60 if moved else 3
    return Finding(
        route="chat",
        feature=feature,
        kind="numeric",
        verdict="drift" if moved else "ok",
        severity="critical" if moved else "none",
        statistic="psi",
        value=value,
        low=value * 0.8,
        high=value * 1.25 + 0.003,
        threshold=0.0117,
        n_reference=20_517,
        n_current=44_077,
        missing_share=0.0273,
        baseline="default@3",
        cause=f"the median went from 149 to 298, `{category}`",
        measurements={"ks": 0.0913 + number / 1000, "wasserstein_sd": 0.1127},
        segment="variant=candidate" if number == 10 else "",
        onset_at=START + 97 * HOUR if moved else None,
        p_adjusted=1e-9 if moved else 0.37,
        histogram=tuple(
            Bin(name, 1700 + 9 * n, 1650 + shift * n * 7) for n, name in enumerate(cells)
        ),
    )


def _check(monitor: str, subject: str, statistic: str, value: float, category: str) -> Check:
    return Check(
        *(monitor, "chat", subject, "", "breach", "warning", statistic, value),
        *(value * 0.7, value * 1.3, value * 0.5, 44_077, WEEK.to_us - HOUR),
        Interval(WEEK.to_us - 6 * HOUR, WEEK.to_us - HOUR),
        f"what happened: {category}",
        {"budget_left": 0.413},
    )


def _performance(category: str) -> Performance:
    return Performance(
        *("chat", 44_077, 1_234, 0.028, 8_100.5),
        outcomes=(
            Outcome("", "accuracy", 0.8732, 0.8535, 0.8907, 1_233),
            Outcome("candidate", "score", 3.912, None, None, 17),
        ),
        classes=(ClassOutcome(category, 701, 0.5681, 688, 655, 0.952, 0.933, 0.966),),
        calibration=Calibration(
            1_232, 0.0417, 0.1123, 0.3511, (ConfidenceBin("0.912", 123, 0.9123, 0.87, 0.8, 0.92),)
        ),
        estimated=Estimated(0.8811, 0.8622, 0.9, 43_999, 5_020),
        gaps=(
            Gap(
                segment=f"tenant={category}",
                metric="accuracy",
                value=0.7011,
                value_rest=0.8999,
                difference=-0.1988,
                low=-0.3012,
                high=-0.0987,
                n=219,
                n_rest=1_014,
                segments=12,
                verdict="worse",
            ),
        ),
    )


def _difference(metric: str, values: tuple[float, float, float, float, float]) -> Difference:
    return Difference("chat", "candidate", "primary", metric, *values, 41_873, 2_204)


def _step(number: int, route: str) -> Step:
    wave = 1.0 + math.sin(number * math.tau / 12.0) * 0.6
    n = round(520 * wave) if route == "chat" else round(111 * wave)
    errors = 37 if number == 50 and route == "chat" else number % 3
    slow = 1.4 if number > 48 else 1.0
    return Step(START + number * 2 * HOUR, route, n, errors, n * 0.00173, 0.73 * slow, 2.5 * slow)
