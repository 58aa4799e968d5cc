"""The board against a real Prometheus that scrapes a fed gateway's metrics."""

import json
import math
import threading
import time
from collections.abc import Iterator

import pytest
from support.prometheus import Prometheus, PrometheusRefused, scraping, serving
from support.promql import Target, filled, targets
from support.telemetry_feed import feed, settings_of

from dashboards.files import BOARDS, board_text
from gateway.telemetry import Telemetry

TARGETS = targets(json.loads(board_text(BOARDS[0])))
LIVE = {"$__rate_interval": "10s", "$job": ".+", "$instance": ".+", "$route": ".+"}


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    """Scrape metrics that grow, until rates can be computed."""
    telemetry = Telemetry(settings_of())
    stop = threading.Event()

    def grow() -> None:
        turn = 0
        while not stop.wait(0.5):
            turn += 1
            feed(telemetry, turn, time.time_ns() // 1000)

    feeder = threading.Thread(target=grow)
    feeder.start()
    try:
        with serving(telemetry.render) as url, scraping(url) as server:
            rate = filled("sum(rate(driftgate_requests_total[$__rate_interval]))", LIVE)
            server.wait_for(rate, until=lambda found: bool(found) and found[0].value > 0)
            server.wait_for("count_over_time(driftgate_build_info[1m]) >= 4")
            yield server
    finally:
        stop.set()
        feeder.join(10.0)


def test_scrape_succeeds(prometheus: Prometheus) -> None:
    """Prometheus takes the exposition without complaint."""
    (target,) = prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")


@pytest.mark.parametrize("target", TARGETS, ids=[t.name for t in TARGETS])
def test_query_returns_numbers(prometheus: Prometheus, target: Target) -> None:
    """Every query of every panel returns at least one series, and no NaN."""
    found = prometheus.query(filled(target.expr, LIVE))
    assert found
    assert not any(math.isnan(sample.value) for sample in found)


def test_failures_have_a_share(prometheus: Prometheus) -> None:
    """The share of 5xx is that of the records: 1 of 9 primaries."""
    (tile,) = (t for t in TARGETS if t.panel == "Server errors")
    (sample,) = prometheus.query(filled(tile.expr, LIVE))
    assert sample.value == pytest.approx(1 / 9, rel=0.05)


def test_no_failure_is_zero_and_no_traffic_is_nothing(prometheus: Prometheus) -> None:
    """A route without errors shows 0; one that does not exist shows nothing."""
    (tile,) = (t for t in TARGETS if t.panel == "Server errors")
    clean = filled(tile.expr.replace('status="5xx"', 'status="3xx"'), LIVE)
    assert [sample.value for sample in prometheus.query(clean)] == [0.0]
    assert prometheus.query(filled(tile.expr, LIVE | {"$route": "nowhere"})) == []


def test_wrong_query_is_refused(prometheus: Prometheus) -> None:
    """The helper tells a wrong query from an empty answer."""
    with pytest.raises(PrometheusRefused, match="parse error"):
        prometheus.query("sum(")
