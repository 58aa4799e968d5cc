"""`monitor baseline`: the references that drift is measured against."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.answers import decode
from gateway.cli.exits import NotEnoughDataError
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from gateway.api.baseline_shapes import BaselineDetail, BaselineSummary
    from gateway.cli.source import Server, Source
    from storage.database import Database
    from storage.repository import Repository

T = TypeVar("T")


@click.group()
def baseline() -> None:
    """Set, list, show or drop the references that drift is measured against.

    \b
    Examples:
      monitor baseline set --since 24h
      monitor baseline set --name before-launch --since 2026-11-01 --until 2026-11-08 --route chat
      monitor baseline set --last 5000
      monitor baseline set --previous 7d
      monitor baseline set --since 28d --seasonal --route chat
      monitor baseline set --since 7d --variant stable --route chat
      monitor baseline set --file train.parquet --route churn --map tenure=input.tenure_months
      monitor baseline show default --route chat

    The one set last is what a route is compared with; none is ever replaced. Without any, the
    first three days of a route become one.
    """


@baseline.command("set")
@click.option("--name", default="default", show_default=True)
@click.option("--since", help="Start of the period: `24h`, `7d`, ISO 8601, `today`.  [24h]")
@click.option("--until", help="End of the period.  [default: now]")
@click.option("--last", type=click.IntRange(1), help="The newest rows instead of a period.")
@click.option("--previous", metavar="DURATION", help="So long before midnight, anew every day.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="A Parquet or CSV file.")
@click.option("--map", "mapped", multiple=True, metavar="COLUMN=FEATURE", help="Of a file.")
@click.option("--mapped-only", is_flag=True, help="Leave out the file's other columns.")
@click.option("--variant", help="Rows of this variant alone; every variant is compared with them.")
@click.option("--seasonal", is_flag=True, help="By hour of the week; two weeks at least.")
@click.option("--route", help="Without it: every route with traffic.")
@source_options
def set_command(*, name: str, path: Path | None, **asked: Any) -> None:
    """Save a new version of a baseline, of one route or of each.

    \b
    A file's column is the signal of its name, or else the input `input.<name>`. --map names
    another feature, `started_at` for the rows' times, or nothing (`--map id=`) to leave it out.
    """
    from gateway.cli.baseline_set import check_together, set_of_file, set_of_log

    check_together(path, asked)
    _check_name(name)
    source = _source(asked)
    if path is not None:
        added = _use(source, *set_of_file(source, path, {**asked, "name": name}), writes=True)
        click.echo(f"{added.baseline.route}: {_one_line(added.baseline)}")
        for column, why in added.left_out.items():
            click.echo(f"monitor: `{column}` is left out: {why}", err=True)
        return
    made = _use(source, *set_of_log(source, {**asked, "name": name}), writes=True)
    for done in made.baselines:
        click.echo(f"{done.route}: {_one_line(done)}")
    for refused in made.refused:
        click.echo(f"monitor: {refused.message}", err=True)


@baseline.command("list")
@click.option("--route", help="Of this route alone.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def list_command(*, route: str | None, form: str, **more: Any) -> None:
    """List every version of every baseline, oldest first."""
    import msgspec

    from gateway.api.baseline_shapes import Listed

    def read(repository: "Repository") -> Listed:
        from gateway.api.baseline_jobs import list_baselines

        return Listed(list_baselines(repository, route, None))

    found = _use(
        _source(more),
        lambda server: decode(server.get("/baselines", {"route": route}), Listed),
        read,
    )
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for summary in found.baselines:
        click.echo(f"{summary.route}: {_one_line(summary)}")
    if not found.baselines:
        click.echo("monitor: there is none; set one with `monitor baseline set`", err=True)


@baseline.command("show")
@click.argument("name", default="default")
@click.option("--route", required=True)
@click.option("--version", type=click.IntRange(1), help="[default: the newest]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def show_command(*, name: str, route: str, version: int | None, form: str, **more: Any) -> None:
    """Show what the features of a baseline looked like."""
    import msgspec

    from gateway.api.baseline_shapes import BaselineDetail

    def read(repository: "Repository") -> BaselineDetail:
        from gateway.api.baseline_jobs import show_baseline

        return show_baseline(repository.load_baselines(route), route, name, version)

    _check_name(name)
    params = {"route": route, "version": version}
    found = _use(
        _source(more),
        lambda server: decode(server.get(f"/baselines/{name}", params), BaselineDetail),
        read,
    )
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    click.echo(f"{route}: {_one_line(found.baseline)}")
    for line in _feature_lines(found):
        click.echo(line)


@baseline.command("drop")
@click.argument("name")
@click.option("--route", required=True)
@source_options
def drop_command(*, name: str, route: str, **more: Any) -> None:
    """Remove all versions of a baseline of a route."""
    from gateway.api.baseline_shapes import DroppedVersions

    _check_name(name)
    found = _use(
        _source(more),
        lambda server: decode(
            server.delete(f"/baselines/{name}", {"route": route}), DroppedVersions
        ),
        lambda repository: DroppedVersions(repository.drop_baseline(route, name)),
        writes=True,
    )
    if not found.dropped:
        raise click.UsageError(f"route `{route}` has no baseline `{name}`")
    click.echo(f"{route}: {name} dropped, {found.dropped} versions")


def _source(more: dict[str, Any]) -> "Source":
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    data_dir: Path | None = more["data_dir"]
    return Source.find(SourceOptions(more["config"], data_dir, more["server"]), SystemClock())


def _use(
    source: "Source",
    ask: Callable[["Server"], T],
    read: Callable[["Repository"], T],
    *,
    writes: bool = False,
) -> T:
    from monitors.errors import MonitorError, NoBaseline

    def opened(database: "Database") -> T:
        from storage.repository import Repository

        return read(Repository(database))

    try:
        return source.use(ask, opened, writes=writes)
    except NoBaseline as error:
        raise click.UsageError(str(error)) from error
    except MonitorError as error:
        raise NotEnoughDataError(str(error)) from error


def _check_name(name: str) -> None:
    import re

    from gateway.api.baseline_shapes import NAME_PATTERN

    if re.fullmatch(NAME_PATTERN, name) is None:
        raise click.UsageError(
            f"`{name}` is no name; write letters, digits, `_`, `.` and `-`, at most 64"
        )


def _one_line(summary: "BaselineSummary") -> str:
    from monitors.windows import from_us

    period = f"{from_us(summary.window_from)} to {from_us(summary.window_to)}"
    source = summary.source
    if source.get("kind") in {"file", "columns"}:
        period = str(source.get("file", "columns in memory"))
    more = ", moves every day" if source.get("kind") == "previous" else ""
    if "variant" in source:
        more += f", variant {source['variant']}"
    if source.get("seasonal"):
        more += ", by hour of the week"
    if source.get("kind") == "automatic":
        more += ", the first days"
    features = f"{len(summary.features)} features"
    return f"{summary.name}@{summary.version}, {summary.rows} rows, {features}, {period}{more}"


def _feature_lines(found: "BaselineDetail") -> Sequence[str]:
    from monitors.report.printable import printable

    lines = []
    for item in found.features:
        values = ", ".join(f"{name} {share:.1%}" for name, share in item.categories.items())
        if item.p50 is not None:
            values = f"p5 {item.p05:g}, p50 {item.p50:g}, p95 {item.p95:g}"
        lines.append(
            f"  {item.feature:<24} {item.rows} rows, {item.missing} missing: {printable(values)}"
        )
    return lines
