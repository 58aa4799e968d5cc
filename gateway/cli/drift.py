"""`monitor drift`."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from gateway.cli.answers import decode
from gateway.cli.colour import wants_colour
from gateway.cli.exits import GOOD, NOT_ENOUGH_DATA, NotEnoughDataError
from gateway.cli.source_options import source_options
from gateway.cli.waiting import telling

if TYPE_CHECKING:
    import msgspec

    from gateway.cli.since import Interval
    from gateway.cli.source import Server, Source
    from monitors.explain.model import DriftExplained, DriftState
    from monitors.explain.state import DriftQuery
    from monitors.explain.text import Terminal
    from storage.database import Database

T = TypeVar("T", bound="msgspec.Struct")
_WIDTH_OF_FILES = 160
_KEYS = ("variant", "model", "version", "tenant", "language", "tag")


class _Asked(NamedTuple):
    interval: "Interval"
    route: str | None
    feature: str | None
    segment: str
    baseline: str | None
    deep: bool


@click.command()
@click.option("--since", default="24h", show_default=True, help="`7d`, `1h30m`, ISO 8601, `today`.")
@click.option("--until", help="As --since; a date is its first instant.  [default: now]")
@click.option("--route", help="This route alone.")
@click.option("--feature", help="This feature alone.")
@click.option("--segment", default="", metavar="KEY=VALUE", help="Such as `variant=candidate`.")
@click.option("--baseline", help="Name, or `name@version`.  [default: the newest]")
@click.option("--explain", is_flag=True, help="What moved, since when, and who carries it.")
@click.option("--deep", is_flag=True, help="With --explain: exact tests over single rows, too.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@source_options
def drift(*, since: str, until: str | None, form: str, explain: bool, **more: Any) -> int:
    """Show where every stream stands; explain what drifts.

    \b
    Examples:
      monitor drift
      monitor drift --explain
      monitor drift --explain --feature response_tokens --route chat --since 7d
      monitor drift --explain --feature latency_s --segment variant=candidate --deep

    With --explain and without --feature: everything that drifts. An onset is an estimate, told
    with its range. Asks the running server; opens the database file when none runs. Exit codes:
    0 good, 2 usage or configuration, 3 not enough data, 4 storage or server unreachable.
    """
    from gateway.cli.since import TimeRefused, parse_interval
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    clock = SystemClock()
    try:
        interval = parse_interval(since, until, clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error
    if more["deep"] and not explain:
        raise click.UsageError("--deep belongs to --explain")
    _check_segment(more["segment"])
    asked = _Asked(interval, *(more[name] for name in _Asked._fields[1:]))
    data_dir: Path | None = more["data_dir"]
    source = Source.find(SourceOptions(more["config"], data_dir, more["server"]), clock)
    click.echo(f"monitor: {interval}", err=True)
    if explain:
        return _explain(source, asked, form)
    return _show(source, asked, form)


def _show(source: "Source", asked: _Asked, form: str) -> int:
    from monitors.explain.build import build_state
    from monitors.explain.model import DriftState
    from monitors.explain.state import says_something
    from monitors.explain.text import render_state

    def read(database: "Database") -> "DriftState":
        from storage.repository import Repository

        now_us = source.clock.now_us()
        return build_state(Repository(database), _query(asked), source.monitors, now_us)

    found = _use(source, asked, ("/drift", DriftState), read)
    _write(found, form, render_state)
    return GOOD if says_something(found) else NOT_ENOUGH_DATA


def _explain(source: "Source", asked: _Asked, form: str) -> int:
    from monitors.explain.build import build_explanations
    from monitors.explain.model import DriftExplained
    from monitors.explain.text import render_explained

    def read(database: "Database") -> "DriftExplained":
        from storage.repository import Repository

        now_us = source.clock.now_us()
        return build_explanations(Repository(database), _query(asked), source.monitors, now_us)

    found = _use(source, asked, ("/drift/explain", DriftExplained), read)
    _write(found, form, render_explained)
    told = found.explanations
    known = any(one.n_current for one in told) if told else found.compared > 0
    return GOOD if known else NOT_ENOUGH_DATA


def _query(asked: _Asked) -> "DriftQuery":
    from monitors.explain.state import DriftQuery
    from monitors.windows import Window

    return DriftQuery(Window(*asked.interval), *asked[1:])


def _use(
    source: "Source",
    asked: _Asked,
    answer: tuple[str, type[T]],
    read: "Callable[[Database], T]",
) -> T:
    from monitors.errors import MonitorError, NoBaseline

    path, type_ = answer
    params = {
        "since_us": asked.interval.from_us,
        "until_us": asked.interval.to_us,
        "route": asked.route,
        "feature": asked.feature,
        "segment": asked.segment or None,
        "baseline": asked.baseline,
        "deep": "true" if asked.deep else None,
    }

    def ask(server: "Server") -> T:
        return decode(server.get(path, params), type_)

    try:
        with telling("reading the log"):
            return source.use(ask, read)
    except NoBaseline as error:
        raise click.UsageError(str(error)) from error
    except MonitorError as error:
        raise NotEnoughDataError(str(error)) from error


def _write(found: T, form: str, render: "Callable[[T, Terminal], str]") -> None:
    from gateway.cli.endings import quiet_ending

    if form == "json":
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    else:
        text = render(found, _terminal())
    with quiet_ending():
        click.echo(text, nl=False, color=True)


def _terminal() -> "Terminal":
    from monitors.explain.text import Terminal

    on_terminal = sys.stdout.isatty()
    size = shutil.get_terminal_size((_WIDTH_OF_FILES, 24))
    width = size.columns if on_terminal else _WIDTH_OF_FILES
    return Terminal(width, wants_colour(), _takes_blocks())


def _takes_blocks() -> bool:
    """Say whether stdout can write what histograms are drawn in."""
    try:
        "█▏─".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _check_segment(segment: str) -> None:
    key, is_given, value = segment.partition("=")
    if segment and not (is_given and value and key in _KEYS):
        raise click.UsageError(
            f"--segment: `{segment}` is no segment; write key=value with a key of"
            f" {', '.join(_KEYS)}"
        )
