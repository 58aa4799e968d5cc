"""`monitor logs`: the prediction log, newest last; followed; or one prediction whole."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import click

from gateway.cli.exits import GOOD, NOT_ENOUGH_DATA, NotEnoughDataError, UnreachableError
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from gateway.cli.source import Server, Source
    from storage.browse import LogFilter
    from storage.database import Database

_POLL_S = 1.0
_FILTERS = ("route", "model", "variant", "role", "status", "reason", "user", "errors", "where")
_PAGE_ROWS = 1000
_TEXTS = 100


class _Shown(NamedTuple):
    """Rows of a page, and where to go on."""

    rows: list[dict[str, Any]]
    after: str
    more: bool


class _Wanted(NamedTuple):
    """What the user asked for: the server's parameters, by name."""

    filters: dict[str, Any]
    since_us: int
    until_us: int | None
    limit: int
    payload: bool


@click.command()
@click.argument("prediction_id", required=False, metavar="[ID]", type=click.UUID)
@click.option("--since", default="1h", show_default=True, help="`7d`, `1h30m`, ISO 8601, `today`.")
@click.option("--until", help="As --since; a date is its first instant.  [default: now]")
@click.option("--route", help="This route alone.")
@click.option("--model", help="This model alone: as answered, or as asked where none answered.")
@click.option("--variant", help="This variant alone.")
@click.option("--role", type=click.Choice(["primary", "shadow"]), help="Without: both.")
@click.option("--status", metavar="CODES", help="`429`, `5xx`, or several: `429,5xx`.")
@click.option("--reason", help="What went wrong, such as `upstream_timeout`.")
@click.option("--user", metavar="KEY", help="The user's key (`x-driftgate-user`), or its hash.")
@click.option("--errors", is_flag=True, default=None, help="Only what went wrong.")
@click.option("--where", metavar="SQL", help="A DuckDB condition over `predictions`.")
@click.option("--limit", type=click.IntRange(1, _PAGE_ROWS), default=50, show_default=True)
@click.option("--follow", is_flag=True, help="Go on with what comes in, until Ctrl-C.")
@click.option("--payload", is_flag=True, help="With the text of requests and answers.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
)
@source_options
def logs(*, prediction_id: UUID | None, form: str, follow: bool, **given: Any) -> int:
    """Show the newest predictions, newest last; with ID, one of them whole.

    \b
    Examples:
      monitor logs --since 24h --errors
      monitor logs --status 429,5xx --follow
      monitor logs --where "latency_s > 5 AND response_tokens > 1000" --format jsonl
      monitor logs 0190a1b2-...

    Times of JSON are microseconds since the epoch, UTC. Exit codes: 0 good, 2 usage or
    configuration, 3 there is none, 4 storage or server unreachable.
    """
    from gateway.cli.endings import quiet_ending
    from storage.errors import QueryRefused

    if follow and form == "json":
        raise click.UsageError("--follow never ends, and JSON would have to; use --format jsonl")
    if given["payload"] and given["limit"] > _TEXTS:
        raise click.UsageError(f"with --payload, --limit is at most {_TEXTS}")
    code = GOOD
    with quiet_ending():
        try:
            source = _source(given)
            if prediction_id is not None:
                _show_one(_one(source, str(prediction_id)), form)
            else:
                code = _show(source, _wanted(source, given), form, follow=follow)
        except QueryRefused as error:
            raise click.UsageError(str(error)) from error
    return code


def _wanted(source: "Source", given: Mapping[str, Any]) -> _Wanted:
    from gateway.cli.since import TimeRefused, parse_interval

    try:
        interval = parse_interval(given["since"], given["until"], source.clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"monitor: {interval}", err=True)
    filters = {name: given[name] for name in _FILTERS if given[name] is not None}
    until_us = None if given["until"] is None else interval.to_us
    return _Wanted(filters, interval.from_us, until_us, given["limit"], given["payload"])


def _show(source: "Source", wanted: _Wanted, form: str, *, follow: bool) -> int:
    server, page = _newest(source, wanted, follow=follow)
    show = _printer(form)
    show(page)
    if page.more and not follow:
        click.echo(f"monitor: the newest {len(page.rows)}; --limit or --since for more", err=True)
    if follow:
        assert server is not None
        _follow(server, wanted._replace(until_us=None), page.after, show)
    if not page.rows and not follow:
        click.echo("monitor: there are none of these in the interval", err=True)
        return NOT_ENOUGH_DATA
    return GOOD


def _newest(source: "Source", wanted: _Wanted, *, follow: bool) -> "tuple[Server | None, _Shown]":
    def read(database: "Database") -> "tuple[Server | None, _Shown]":
        from gateway.api.log_query import LOG_TIME_S, PageAsked, read_page
        from storage.sql import BoundedReader

        if follow:
            raise UnreachableError(
                f"no server runs on {source.data_dir}, so nothing comes in; leave out --follow"
            )
        bounded = BoundedReader(database.cursor, time_s=LOG_TIME_S)
        asked = PageAsked(wanted.limit, payload=wanted.payload)
        page = read_page(bounded, _filter(source, wanted), asked)
        return None, _Shown(page.rows, str(page.after), page.more)

    return source.use(lambda server: (server, _ask(server, wanted, wanted.limit)), read)


def _filter(source: "Source", wanted: _Wanted) -> "LogFilter":
    from gateway.api.log_query import LAST_US, Asked, log_filter
    from storage.reader import Window

    until_us = LAST_US - 1 if wanted.until_us is None else wanted.until_us
    window = Window(wanted.since_us, until_us)
    asked = Asked(**wanted.filters)
    keys: tuple[str, ...] = ()
    if asked.user is not None:
        from gateway.user_keys import stored_user_keys

        keys = stored_user_keys(source.settings, asked.user)
    return log_filter(window, asked, keys)


def _ask(server: "Server", wanted: _Wanted, limit: int, after: str | None = None) -> _Shown:
    import msgspec

    from gateway.cli.source import ServerGone

    params = {
        **wanted.filters,
        "since_us": wanted.since_us,
        "until_us": wanted.until_us,
        "limit": limit,
        "payload": wanted.payload,
        "after": after,
    }
    try:
        found = msgspec.json.decode(server.get("/logs", params), type=dict[str, Any])
        return _Shown(found["rows"], found["after"], found["more"])
    except (msgspec.MsgspecError, KeyError) as error:
        raise ServerGone(f"its answer cannot be read: {error}") from error


def _follow(server: "Server", wanted: _Wanted, after: str, show: Callable[[_Shown], None]) -> None:
    from gateway.cli.source import ServerGone

    limit = _TEXTS if wanted.payload else _PAGE_ROWS
    is_gone = False
    while True:
        try:
            page = _ask(server, wanted, limit, after)
        except (ServerGone, UnreachableError) as error:
            if not is_gone:
                click.echo(f"monitor: {error}; waiting for it", err=True)
            is_gone, page = True, _Shown([], after, more=False)
        else:
            is_gone, after = False, page.after
        show(page)
        if not page.more:
            time.sleep(_POLL_S)


def _printer(form: str) -> Callable[[_Shown], None]:
    import msgspec

    from gateway.cli.log_text import LogTable

    table = LogTable()

    def show(page: _Shown) -> None:
        if form == "json":
            body = msgspec.json.encode({"version": 1, "rows": page.rows, "more": page.more})
            click.echo(msgspec.json.format(body, indent=2))
        elif form == "jsonl":
            for row in page.rows:
                click.echo(msgspec.json.encode(row))
        else:
            for line in table.lines(page.rows):
                click.echo(line)

    return show


def _one(source: "Source", prediction_id: str) -> dict[str, Any]:
    import msgspec

    from gateway.cli.source import NoSuchThing

    def ask(server: "Server") -> dict[str, Any]:
        try:
            body = server.get(f"/logs/{prediction_id}", {})
        except NoSuchThing as error:
            raise NotEnoughDataError(error.message) from error
        record: dict[str, Any] = msgspec.json.decode(body)["record"]
        return record

    def read(database: "Database") -> dict[str, Any]:
        from gateway.api.log_query import LOG_TIME_S, read_one
        from storage.sql import BoundedReader

        found = read_one(BoundedReader(database.cursor, time_s=LOG_TIME_S), prediction_id)
        if found is None:
            raise NotEnoughDataError(f"there is no prediction `{prediction_id}` in the log (yet)")
        return found

    return source.use(ask, read)


def _show_one(record: dict[str, Any], form: str) -> None:
    import msgspec

    from gateway.cli.log_text import record_lines

    if form == "table":
        for line in record_lines(record):
            click.echo(line)
        return
    body = msgspec.json.encode(record)
    click.echo(body if form == "jsonl" else msgspec.json.format(body, indent=2))


def _source(given: Mapping[str, Any]) -> "Source":
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    data_dir: Path | None = given["data_dir"]
    return Source.find(SourceOptions(given["config"], data_dir, given["server"]), SystemClock())
