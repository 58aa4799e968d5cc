"""`monitor sql`: one statement that reads the log."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GOOD
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from gateway.cli.source import Server
    from storage.database import Database

_MAX_ROWS = 100_000
_MAX_TIME_S = 60.0


@click.command()
@click.argument("statement", metavar="SQL")
@click.option("--limit", type=click.IntRange(1, _MAX_ROWS), default=1000, show_default=True)
@click.option(
    "--time-limit",
    "time_s",
    type=click.FloatRange(0, _MAX_TIME_S, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
)
@source_options
def sql(*, statement: str, limit: int, time_s: float, form: str, **more: Any) -> int:
    """Run one SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW; `-` reads it from stdin.

    \b
    Examples:
      monitor sql "SHOW TABLES"
      monitor sql "SELECT route, count(*) FROM predictions GROUP BY route" --format csv
      monitor sql - < question.sql

    docs/sql.md lists the tables. Exit codes: 0 good, 2 refused or stopped at a limit,
    4 storage or server unreachable.
    """
    import msgspec

    from gateway.cli.endings import quiet_ending
    from gateway.cli.source import ServerGone, Source, SourceOptions
    from router.clock import SystemClock
    from storage.errors import QueryRefused

    text = sys.stdin.read() if statement == "-" else statement
    options = SourceOptions(more["config"], more["data_dir"], more["server"])
    source = Source.find(options, SystemClock())

    def ask(server: "Server") -> dict[str, Any]:
        body = server.post("/sql", {"sql": text, "limit": limit, "time_s": time_s})
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ServerGone(f"{server.url}: its answer cannot be read: {error}") from error

    def read(database: "Database") -> dict[str, Any]:
        from storage.sql import BoundedReader, QueryLimits, run_query

        bounded = BoundedReader(database.cursor, time_s=time_s)
        found = run_query(bounded, text, QueryLimits(limit))
        columns = [column._asdict() for column in found.columns]
        rows = [msgspec.json.decode(row) for row in found.rows]
        return {"version": 1, "columns": columns, "rows": rows, "truncated": found.truncated}

    try:
        found = source.use(ask, read)
    except QueryRefused as error:
        raise click.UsageError(str(error)) from error
    with quiet_ending():
        click.echo(_shown(found, form), nl=False)
    if found["truncated"]:
        click.echo(f"monitor: cut after {len(found['rows'])} rows; see --limit", err=True)
    return GOOD


def _shown(found: dict[str, Any], form: str) -> str:
    import msgspec

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    names = [column["name"] for column in found["columns"]]
    if form == "csv":
        from gateway.cli.table_text import csv_text

        return csv_text(names, found["rows"])
    from gateway.cli.table_text import table_text

    return table_text(names, found["rows"])
