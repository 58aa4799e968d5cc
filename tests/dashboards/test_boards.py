"""The shipped board: sound JSON, clean by Grafana's lint rules, and up to date."""

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from support.promql import RATE_INTERVAL, Target, nodes, panels, targets

from dashboards import sdk
from dashboards.files import BOARDS, board_text, grafana_files
from dashboards.generate import ROOT, generated
from dashboards.spec import WIDTH
from monitors.metrics import METRICS

BOARD: dict[str, Any] = json.loads(board_text(BOARDS[0]))
PANELS = panels(BOARD)
TARGETS = targets(BOARD)
UNITS = {"reqps", "percentunit", "s", "currencyUSD", "short", "bytes"}
SUFFIXES = ("_bucket", "_count", "_sum")

each_panel = pytest.mark.parametrize("panel", PANELS, ids=[p["title"] for p in PANELS])
each_target = pytest.mark.parametrize("target", TARGETS, ids=[t.name for t in TARGETS])


def selectors(target: Target) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield the selectors of a query, with the functions around them."""
    for node, around in nodes(target.expr):
        if isinstance(node, promql_parser.VectorSelector):
            yield node, around


def metric_of(series: str) -> str:
    """Return the series name of the metric that a sample's name belongs to."""
    declared = {metric.series_name: metric.kind for metric in METRICS}
    for suffix in SUFFIXES:
        base = series.removesuffix(suffix)
        if declared.get(base) == "histogram" and base != series:
            return base
    return series


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Any) -> None:
    """What is committed is what `python -m dashboards.generate` writes."""
    assert path.read_text("utf-8") == generated()[path]


@pytest.mark.parametrize("name", grafana_files())
def test_deployed_files_are_those_of_the_package(name: str) -> None:
    """`deploy/grafana` holds what `monitor dashboards export` writes."""
    assert (ROOT / "deploy" / "grafana" / name).read_text("utf-8") == grafana_files()[name]


def test_board_survives_the_sdk_model() -> None:
    """Every key is one of Grafana's: the model would drop any other."""
    model = sdk.dashboard_model.Dashboard.from_json(BOARD)
    assert json.loads(json.dumps(model, cls=sdk.JSONEncoder)) == BOARD


def test_round_trip_sees_a_misspelt_key() -> None:
    """The check above can fail: a key that Grafana has not is dropped by the model."""
    wrong = BOARD | {"pannels": []}
    model = sdk.dashboard_model.Dashboard.from_json(wrong)
    assert json.loads(json.dumps(model, cls=sdk.JSONEncoder)) != wrong


def test_board_is_classic_and_uneditable() -> None:
    """Schema 42 of v1 loads in Grafana 10.4 to 13 by provisioning; the file is the source."""
    assert (BOARD["schemaVersion"], BOARD["editable"]) == (42, False)
    assert BOARD["uid"] == "driftgate-overview"


def test_one_datasource_variable() -> None:
    """Exactly one data source is chosen, by the variable `datasource`."""
    found = [one for one in BOARD["templating"]["list"] if one["type"] == "datasource"]
    assert [(one["name"], one["label"], one["query"]) for one in found] == [
        ("datasource", "Data Source", "prometheus")
    ]


@pytest.mark.parametrize("name", ["job", "instance", "route"])
def test_variables_take_several_values(name: str) -> None:
    """Job, instance and route choose several, all of them included, and follow the time range."""
    (variable,) = (one for one in BOARD["templating"]["list"] if one["name"] == name)
    assert variable["multi"]
    assert variable["includeAll"]
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2
    assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert variable["query"].startswith("label_values(driftgate_")


def test_panels_lie_side_by_side() -> None:
    """No panel overlaps another or leaves the grid; ids are unique."""
    seen: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= WIDTH
        assert not cells & seen, panel["title"]
        seen |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


@each_panel
def test_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """Title, unit, data source, what to show without data, and the metrics read by name."""
    assert panel["title"]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert defaults["noValue"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    read = {metric_of(node.name) for t in targets({"panels": [panel]}) for node, _ in selectors(t)}
    for name in read:
        assert f"`{name}`" in panel["description"]


@each_panel
def test_queries_of_a_panel_are_told_apart(panel: dict[str, Any]) -> None:
    """Each query has its letter, its data source and, but in tables, a legend."""
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert panel["type"] == "table" or target["legendFormat"]


@each_target
def test_query_reads_declared_metrics(target: Target) -> None:
    """Every series queried is one that the gateway exports, with labels that it has."""
    declared = {metric.series_name: metric for metric in METRICS}
    for node, _ in selectors(target):
        metric = declared[metric_of(node.name)]
        labels = {matcher.name for matcher in node.matchers.matchers}
        assert labels <= {"job", "instance", *metric.labels}


@each_target
def test_query_follows_the_variables(target: Target) -> None:
    """Every selector is narrowed by job and instance, and by route where there is one."""
    declared = {metric.series_name: metric for metric in METRICS}
    for node, _ in selectors(target):
        matchers = {(matcher.name, matcher.value) for matcher in node.matchers.matchers}
        wanted = {"job", "instance"} | ({"route"} & set(declared[metric_of(node.name)].labels))
        assert {(name, ".+") for name in wanted} <= matchers
        for name in wanted:
            assert f'{name}=~"${name}"' in target.expr


@each_target
def test_counters_are_only_read_as_rates(target: Target) -> None:
    """A counter or a histogram's bucket stands inside `rate`, a gauge never does."""
    kinds = {metric.series_name: metric.kind for metric in METRICS}
    for node, around in selectors(target):
        assert ("rate" in around) == (kinds[metric_of(node.name)] != "gauge"), node.name


@each_target
def test_ranges_fit_the_scrape_interval(target: Target) -> None:
    """Every range is `$__rate_interval`: fixed ones are empty for slow scrapes."""
    for node, _ in nodes(target.expr):
        if isinstance(node, promql_parser.MatrixSelector):
            assert node.range == RATE_INTERVAL


@each_target
def test_divisions_are_guarded(target: Target) -> None:
    """What is divided by is above zero: no traffic is a gap, not NaN."""
    if " / " in target.expr:
        assert target.expr.endswith(" > 0)")
        assert " or 0 * " in target.expr


def test_every_metric_is_on_the_board() -> None:
    """Nothing that the gateway measures is left out, but what another series says as well."""
    shown = {metric_of(node.name) for target in TARGETS for node, _ in selectors(target)}
    left_out = {metric.series_name for metric in METRICS} - shown
    assert left_out == {
        "driftgate_build_info",
        "driftgate_cache_entries",
    }
