"""`monitor doctor`: is everything there that a gateway needs, and does it keep up."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GATE_TRIPPED, GOOD, UNREACHABLE, USAGE
from gateway.cli.source_options import source_options
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.api.db_shapes import DbReport
    from gateway.cli.source import Source
    from gateway.doctor import Check, Examination


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def doctor(*, form: str, **more: Any) -> int:
    """Check configuration, data directory, disk, clock, log, ports, engine and upstreams.

    Upstreams are connected to, and nothing is sent. Exit codes: 0 no check failed (warnings are
    none), 1 one did, 2 one of the configuration, 4 one of the data directory or the server.

    \b
    Examples:
      monitor doctor
      monitor doctor --config driftgate.yaml --format json
    """
    import msgspec

    from gateway.cli.endings import quiet_ending

    found = examine(more)
    with quiet_ending():
        if form == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        else:
            for line in _lines(found):
                click.echo(line)
    return exit_code(found.checks)


def examine(more: dict[str, Any]) -> "Examination":
    """Run every check; a configuration that is refused is the only finding."""
    from gateway.cli.source import Source, SourceOptions
    from gateway.doctor import Area, Check, Examination, State
    from router.clock import SystemClock

    options = SourceOptions(more["config"], more["data_dir"], more["server"])
    try:
        source = Source.find(options, SystemClock())
    except ConfigError as error:
        check = Check("configuration", State.FAIL, str(error), Area.CONFIGURATION)
        return Examination((check,))
    report, url, looked = _look(source)
    checks = (*_checks(source, report), *looked, *_places(source, url))
    return Examination(checks, report)


def exit_code(checks: "Sequence[Check]") -> int:
    """Return what the findings come to."""
    from gateway.doctor import Area, State

    failed = {check.area for check in checks if check.state == State.FAIL}
    for area, code in ((Area.CONFIGURATION, USAGE), (Area.STORAGE, UNREACHABLE)):
        if area in failed:
            return code
    return GATE_TRIPPED if failed else GOOD


def _checks(source: "Source", report: "DbReport | None") -> "Iterator[Check]":
    from gateway import doctor as look

    routes = len(source.settings.routes)
    told = f"good, {routes} routes, {len(source.settings.upstreams)} upstreams"
    yield look.Check("configuration", look.State.OK, told)
    yield look.check_exposure(source.settings)
    yield look.check_folder(source.data_dir)
    yield look.check_space(source.data_dir)
    yield look.check_clock(source.clock.now_us(), report)


def _places(source: "Source", url: str | None) -> "Iterator[Check]":
    """Yield what is beyond the data directory; the ports of a running server are its own."""
    from gateway import doctor as look

    if url is None:
        yield look.check_port("gateway.listen", source.settings.gateway.listen)
        yield look.check_port("gateway.control", source.settings.gateway.control)
    yield look.check_engine(source.settings, os.environ)
    yield from look.check_upstreams(source.settings)


def _look(source: "Source") -> "tuple[DbReport | None, str | None, list[Check]]":
    """Return sizes and forecast, the URL of the server that told them, and what came of it."""
    from gateway.cli.db import read_report
    from gateway.cli.exits import UnreachableError
    from gateway.doctor import Area, Check, State, check_log
    from storage.database import FILE_NAME
    from storage.errors import StorageError

    try:
        report, url = read_report(source)
    except (StorageError, UnreachableError) as error:
        if (source.data_dir / FILE_NAME).exists() or isinstance(error, UnreachableError):
            return None, None, [Check("database", State.FAIL, str(error), Area.STORAGE)]
        told = f"no server runs, and nothing is recorded in {source.data_dir} yet"
        return None, None, [Check("server", State.OK, told)]
    told = f"{url} answers" if url is not None else "none runs; the directory was opened"
    return report, url, [Check("server", State.OK, told), *check_log(report)]


def _lines(found: "Examination") -> Iterator[str]:
    from gateway.cli.db_text import forecast_lines
    from monitors.report.printable import printable

    for check in found.checks:
        yield f"{check.state:<4} {check.name:<18} {printable(check.message)}"
    if found.db is not None:
        yield ""
        yield from forecast_lines(found.db.forecast)
