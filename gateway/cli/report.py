"""`monitor report`."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from gateway.cli.colour import wants_colour
from gateway.cli.exits import GATE_TRIPPED, GOOD, NOT_ENOUGH_DATA, UnreachableError
from gateway.cli.source_options import source_options
from gateway.cli.waiting import telling

if TYPE_CHECKING:
    from gateway.cli.since import Interval
    from gateway.cli.source import Source
    from monitors.asked import ReportQuery
    from monitors.report.gates import Gate
    from monitors.report.model import Report
    from storage.database import Database
    from storage.repository import Repository

_WIDTH_OF_FILES = 160
_DETAILED = frozenset({"json", "html", "csv"})
"""Formats that show the timeline and histograms."""


class _Scope(NamedTuple):
    interval: "Interval"
    route: str | None
    model: str | None
    exact: bool
    offline: bool
    detail: bool


@click.command()
@click.option("--since", default="7d", show_default=True, help="`7d`, `1h30m`, ISO 8601, `today`.")
@click.option("--until", help="As --since; a date is its first instant.  [default: now]")
@click.option("--route", help="This route alone.")
@click.option("--model", help="This model alone: as answered, or as asked where none answered.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "md", "html", "csv"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option(
    "--fail-on",
    metavar="GATES",
    help="Exit 1 on `drift`, `drift:critical`, `slo`, `slo:NAME`, `quality`, `performance`,"
    " `errors` (above 1 %), `errors:0.05`; comma between.",
)
@click.option("--exact", is_flag=True, help="Percentiles and PSI as of all rows, not within 1 %.")
@click.option(
    "--offline", is_flag=True, help="From the archive, though a process has the database."
)
@source_options
def report(
    *,
    since: str,
    until: str | None,
    form: str,
    output: Path | None,
    fail_on: str | None,
    **more: str | Path | bool | None,
) -> int:
    """Report traffic, errors, latency, tokens, cost, variants, drift, SLOs, alerts and quality.

    \b
    Examples:
      monitor report --since 24h
      monitor report --since 2026-11-01 --until 2026-11-08 --format json --output week.json
      monitor report --since 30d --format html --output month.html
      monitor report --since 1h --fail-on drift:critical,slo,errors:0.02

    HTML is one file: no script, nothing to fetch, made for print too. CSV is one long table.
    Asks the running server; opens the database file when none runs. Exit codes: 0 good, 1 a gate
    tripped, 2 usage or configuration, 3 not enough or stale data, 4 storage or server unreachable.
    """
    from gateway.cli.since import TimeRefused, parse_interval
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    clock = SystemClock()
    try:
        interval = parse_interval(since, until, clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error
    gates = _gates(fail_on)
    data_dir, route, model = more["data_dir"], _text(more["route"]), _text(more["model"])
    options = SourceOptions(
        config=_text(more["config"]),
        data_dir=Path(str(data_dir)) if data_dir is not None else None,
        server=_text(more["server"]),
    )
    click.echo(f"monitor: {interval}", err=True)
    source = Source.find(options, clock)
    detail = form in _DETAILED
    scope = _Scope(interval, route, model, bool(more["exact"]), bool(more["offline"]), detail)
    with telling("reading the log"):
        found = _fetch(source, scope)
    _write(found, form, output)
    return _exit_code(found, gates)


def _gates(fail_on: str | None) -> "tuple[Gate, ...]":
    if fail_on is None:
        return ()
    from monitors.report.gates import parse_gates

    try:
        return parse_gates(fail_on)
    except ValueError as error:
        raise click.UsageError(f"--fail-on: {error}") from error


def _fetch(source: "Source", scope: _Scope) -> "Report":
    from gateway.cli.source import Server, ServerGone
    from monitors.report.as_json import ReportUnreadable, decode_report
    from storage.errors import DatabaseCorrupt, DatabaseLocked

    params = {
        "since_us": scope.interval.from_us,
        "until_us": scope.interval.to_us,
        "route": scope.route,
        "model": scope.model,
        "exact": "true" if scope.exact else None,
        "detail": "true" if scope.detail else None,
    }
    if scope.offline:
        return _read_archive(source, scope)

    def ask(server: Server) -> "Report":
        try:
            return decode_report(server.get("/report", params))
        except ReportUnreadable as error:
            raise ServerGone(f"{server.url}: {error}") from error

    try:
        return source.use(
            ask, lambda database: _read(source, scope, database), meanwhile=_import_reads
        )
    except (UnreachableError, DatabaseCorrupt) as error:
        if isinstance(error, DatabaseCorrupt) or isinstance(error.__cause__, DatabaseLocked):
            raise UnreachableError(f"{error}; --offline reads the archive") from error
        raise


def _import_reads() -> None:
    import storage.repository  # noqa: F401  (for its time alone: numpy's is as long as opening)


def _read(source: "Source", scope: _Scope, database: "Database") -> "Report":
    import msgspec

    from gateway.paths import spool_dir
    from monitors.asked import ReportQuery
    from monitors.report.spool_lag import spool_lag_bytes
    from monitors.windows import Window
    from storage.repository import Repository

    query = ReportQuery(
        Window(*scope.interval), scope.route, scope.model, scope.exact, scope.detail
    )
    built = _build(Repository(database), query, source)
    lag = spool_lag_bytes(database, spool_dir(source.data_dir))
    notes = built.notes
    if lag:
        notes = (*notes, f"{lag} bytes of the spool are not in the database; `monitor serve` reads")
    quality = msgspec.structs.replace(built.data_quality, spool_lag_bytes=lag)
    return msgspec.structs.replace(built, data_quality=quality, notes=notes)


def _build(repository: "Repository", query: "ReportQuery", source: "Source") -> "Report":
    from monitors.asked import ask_beside, ask_first
    from storage.ahead import reading_ahead

    with repository.snapshot() as log:
        asks = [lambda log: ask_first(log, query), lambda log: ask_beside(log, query)]
        # The database counts on while statistics are imported.
        with reading_ahead(log, repository, asks):
            from monitors.report.build import build_report
        now_us = source.clock.now_us()
        return build_report(repository, query, source.monitors, now_us, log=log)


def _read_archive(source: "Source", scope: _Scope) -> "Report":
    import msgspec

    from monitors.asked import ReportQuery
    from monitors.windows import Window, from_us
    from storage.archive.offline import open_offline
    from storage.repository import Repository

    interval = scope.interval
    offline = open_offline(source.data_dir, from_us=interval.from_us, to_us=interval.to_us)
    try:
        query = ReportQuery(Window(*interval), scope.route, scope.model, scope.exact, scope.detail)
        built = _build(Repository(offline.database), query, source)
    finally:
        offline.database.close()
    note = f"from the archive: what came in after {from_us(offline.as_of_us)} is not in it"
    return msgspec.structs.replace(built, notes=(note, *built.notes))


def _write(found: "Report", form: str, output: Path | None) -> None:
    text = _rendered(found, form) if form != "table" else _table(found, output)
    if output is None:
        from gateway.cli.endings import quiet_ending

        # Gates are looked at all the same.
        with quiet_ending():
            click.echo(text, nl=False, color=True)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(output), str(error)) from error


def _rendered(found: "Report", form: str) -> str:
    if form == "json":
        from monitors.report.as_json import encode_report

        return encode_report(found).decode()
    if form == "md":
        from monitors.report.markdown import render_markdown

        return render_markdown(found)
    if form == "csv":
        from monitors.report.as_csv import render_csv

        return render_csv(found)
    from monitors.report.page import render_html

    return render_html(found)


def _table(found: "Report", output: Path | None) -> str:
    from monitors.report.text import render_text

    colour = output is None and wants_colour()
    on_terminal = output is None and sys.stdout.isatty()
    size = shutil.get_terminal_size((_WIDTH_OF_FILES, 24))
    width = size.columns if on_terminal else _WIDTH_OF_FILES
    return render_text(found, width=width, colour=colour)


def _exit_code(found: "Report", gates: "tuple[Gate, ...]") -> int:
    from monitors.report.gates import check_gates

    results = check_gates(found, gates)
    for result in results:
        if result.outcome != "passed":
            click.echo(f"monitor: {result.message}", err=True)
    outcomes = {result.outcome for result in results}
    if "tripped" in outcomes:
        return GATE_TRIPPED
    if not found.requests:
        click.echo("monitor: there are no predictions in the interval", err=True)
        return NOT_ENOUGH_DATA
    return NOT_ENOUGH_DATA if "unknown" in outcomes else GOOD


def _text(value: object) -> str | None:
    return None if value is None else str(value)
