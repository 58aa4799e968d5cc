from typing import Any

from monitors.report.model import Finding
from monitors.report.together import together


def finding(feature: str, **facts: Any) -> Finding:
    """Return a finding of a report."""
    given: dict[str, Any] = {
        "route": "chat",
        "kind": "numeric",
        "verdict": "ok",
        "severity": "none",
        "statistic": "psi",
        "value": 0.1,
        "low": 0.0,
        "high": 0.2,
        "threshold": 0.1,
        "n_reference": 500,
        "n_current": 500,
        "missing_share": 0.0,
        "baseline": "b@1",
        "cause": "the median went from 0 to 1",
        "measurements": {},
    }
    return Finding(feature=feature, **(given | facts))


def drifted(feature: str, value: float, severity: str = "warning") -> Finding:
    """Return one that drifts."""
    return finding(feature, verdict="drift", value=value, severity=severity)


def test_a_report_tells_of_an_embedding_once() -> None:
    """One row, with the numbers of what moved most, and how much of it drifts."""
    found = together(
        [
            finding("latency_s"),
            finding("input.embedding.d00", value=0.9),
            drifted("input.embedding.d01", 0.4),
            drifted("input.embedding.d02", 0.3, "critical"),
            finding("input.embedding.norm"),
            finding("input.age"),
        ]
    )
    assert [one.feature for one in found] == ["latency_s", "embedding", "input.age"]
    assert (found[1].verdict, found[1].severity, found[1].value) == ("drift", "critical", 0.3)
    assert found[1].cause == "2 of 16 directions moved"


def test_segments_and_routes_have_findings_of_their_own() -> None:
    """What one variant does is no finding of another."""
    own = finding("input.embedding.d00", segment="variant=new")
    other = finding("input.embedding.d00", route="other")
    found = together([finding("input.embedding.d00"), own, other])
    assert [(one.route, one.segment) for one in found] == [
        ("chat", ""),
        ("chat", "variant=new"),
        ("other", ""),
    ]
