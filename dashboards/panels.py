"""Boards from their specification to Grafana's classic (v1) JSON."""

import json
from collections.abc import Iterator
from typing import Any

from dashboards import sdk
from dashboards.spec import WIDTH, Board, Panel, Query, Row
from monitors.metrics import BUILD, REQUESTS

SOURCE = "${datasource}"
NO_DATA = "No data yet"


def to_json(board: Board) -> str:
    """Return a board as the text of its JSON file: sorted keys, two spaces, a final newline."""
    built = _dashboard(board).build()
    return json.dumps(built, cls=sdk.JSONEncoder, sort_keys=True, indent=2) + "\n"


def _source() -> Any:
    return sdk.dashboard_model.DataSourceRef(type_val="prometheus", uid=SOURCE)


def _dashboard(board: Board) -> Any:
    builder = (
        sdk.dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["driftgate"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(sdk.dashboard_model.DashboardCursorSync.CROSSHAIR)
    )
    source = sdk.dashboard.DatasourceVariable("datasource").label("Data Source").type("prometheus")
    builder.with_variable(source)
    for name, label, series in (
        ("job", "Job", BUILD.series_name),
        ("instance", "Instance", f'{BUILD.series_name}{{job=~"$job"}}'),
        ("route", "Route", f'{REQUESTS.series_name}{{job=~"$job", instance=~"$instance"}}'),
    ):
        builder.with_variable(_variable(name, label, f"label_values({series}, {name})"))
    for number, (panel, place) in enumerate(_laid_out(board.rows), start=1):
        if isinstance(panel, Row):
            builder.with_row(sdk.dashboard.Row(panel.title).id(number).grid_pos(place))
        else:
            builder.with_panel(_panel(panel).id(number).grid_pos(place))
    return builder


def _variable(name: str, label: str, query: str) -> Any:
    model = sdk.dashboard_model
    return (
        sdk.dashboard.QueryVariable(name)
        .label(label)
        .datasource(_source())
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _laid_out(rows: tuple[Row, ...]) -> Iterator[tuple[Row | Panel, Any]]:
    """Yield rows and panels with their places: left to right, then the next line."""
    top = 0
    for row in rows:
        yield row, sdk.dashboard_model.GridPos(h=1, w=WIDTH, x=0, y=top)
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                top, left, tallest = top + tallest, 0, 0
            yield (
                panel,
                sdk.dashboard_model.GridPos(h=panel.height, w=panel.width, x=left, y=top),
            )
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel) -> Any:
    makers = {"stat": _stat, "timeseries": _timeseries, "table": _table}
    builder = makers[panel.kind](panel)
    builder.title(panel.title).description(panel.description).datasource(_source())
    builder.unit(panel.unit).no_value(NO_DATA)
    builder.thresholds(_thresholds(panel))
    # Rows and counts of a table are no verdicts: there the words belong to one column.
    builder.mappings(_nothing() if panel.kind == "table" else [*_words(panel), *_nothing()])
    return builder


def _stat(panel: Panel) -> Any:
    model = sdk.common_model
    reduced = sdk.common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    builder = (
        sdk.stat.Panel()
        .reduce_options(reduced)
        .graph_mode(model.BigValueGraphMode.AREA)
        .color_mode(model.BigValueColorMode.VALUE)
    )
    for query in panel.queries:
        builder.with_target(_target(query).legend_format(query.legend).ref_id("A"))
    return builder


def _timeseries(panel: Panel) -> Any:
    model = sdk.common_model
    legend = (
        sdk.common.VizLegendOptions()
        .display_mode(model.LegendDisplayMode.LIST)
        .placement(model.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    tooltip = sdk.common.VizTooltipOptions()
    tooltip.mode(model.TooltipDisplayMode.MULTI).sort(model.SortOrder.DESCENDING)
    builder = sdk.timeseries.Panel().legend(legend).tooltip(tooltip)
    builder.fill_opacity(10).show_points(model.VisibilityMode.AUTO).axis_soft_min(0)
    if panel.steps:
        style = sdk.common.GraphThresholdsStyleConfig()
        builder.thresholds_style(style.mode(model.GraphThresholdsStyleMode.DASHED))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        builder.with_target(_target(query).legend_format(query.legend).ref_id(letter))
    return builder


def _table(panel: Panel) -> Any:
    """Merge instant queries into rows by their labels; each query is a column."""
    builder = sdk.table.Panel()
    names: dict[str, str] = {}
    order = {"route": 0, "feature": 1}
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        table = sdk.prometheus_model.PromQueryFormat.TABLE
        builder.with_target(_target(query).ref_id(letter).instant().format(table))
        names[f"Value #{letter}"] = query.legend
        order[f"Value #{letter}"] = 10 + len(order)
    model = sdk.dashboard_model.DataTransformerConfig
    builder.with_transformation(model(id_val="merge", options={}))
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    builder.with_transformation(model(id_val="organize", options=organize))
    if panel.words:
        words = [*_words(panel), *_nothing()]
        shown = sdk.dashboard_model.DynamicConfigValue(id_val="mappings", value=words)
        cell = {"type": "color-text"}
        colored = sdk.dashboard_model.DynamicConfigValue(id_val="custom.cellOptions", value=cell)
        builder.override_by_name(panel.queries[-1].legend, [shown, colored])
    largest_first = sdk.common.TableSortByFieldState().display_name(panel.queries[0].legend)
    return builder.sort_by([largest_first.desc(True)])


def _target(query: Query) -> Any:
    return sdk.prometheus.Dataquery().expr(query.expr).datasource(_source())


def _thresholds(panel: Panel) -> Any:
    model = sdk.dashboard_model
    steps = [model.Threshold(value=None, color="green")]
    steps += [model.Threshold(value=value, color=color) for value, color in panel.steps]
    return sdk.dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _words(panel: Panel) -> list[Any]:
    model = sdk.dashboard_model
    options = {
        f"{value:g}": model.ValueMappingResult(text=word, color=color, index=index)
        for index, (value, word, color) in enumerate(panel.words)
    }
    return [model.ValueMap(options=options)] if options else []


def _nothing() -> list[Any]:
    """Show what is missing in words: an unmapped NaN would blank the panel."""
    model = sdk.dashboard_model
    shown = model.ValueMappingResult(text=NO_DATA, color="text", index=99)
    match = model.SpecialValueMatch.NULL_AND_NAN
    options = model.DashboardSpecialValueMapOptions(match=match, result=shown)
    return [model.SpecialValueMap(options=options)]
