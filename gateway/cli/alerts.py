"""`monitor alerts`: what is open, whether channels work, what was not delivered."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GATE_TRIPPED, GOOD, UnreachableError
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from gateway.cli.source import Server, Source
    from storage.database import Database

_SUMMARY_CHARS = 100
_LIMIT = 100


@click.group()
def alerts() -> None:
    """List alerts and notifications; test the channels; send a notification again.

    \b
    Examples:
      monitor alerts list --since 7d
      monitor alerts test
      monitor alerts replay 0190a1b2-...
    """


@alerts.command("list")
@click.option("--since", default="7d", show_default=True, help="Such as `90m`, `7d`, ISO 8601.")
@click.option("--until", help="End of the period.  [default: now]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def list_command(*, since: str, until: str | None, form: str, **more: Any) -> int:
    """List the alerts of a period, and the notifications that wait or were given up."""
    from gateway.cli.since import TimeRefused, parse_interval

    source = _source(more)
    try:
        interval = parse_interval(since, until, source.clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"monitor: {interval}", err=True)
    query = {"since_us": interval.from_us, "until_us": interval.to_us, "limit": _LIMIT}

    def read(database: "Database") -> dict[str, Any]:
        from gateway.api.alert_shapes import alert_list
        from storage.repository import Repository

        found = alert_list(Repository(database), interval.from_us, interval.to_us, limit=_LIMIT)
        return found.model_dump()

    found = source.use(lambda server: _decoded(server.get("/alerts", query)), read)
    click.echo(_as_json(found) if form == "json" else _as_table(found), nl=False)
    return GOOD


@alerts.command("test")
@source_options
def test_command(**more: Any) -> int:
    """Send a trial notification to every channel; exit 1 when one did not take it."""
    from monitors.report.printable import printable

    results = _post(_source(more), "/alerts/test")["results"]
    if not results:
        raise click.UsageError("the server has no channels; add one under `alerts`")
    for result in results:
        outcome = "delivered" if result["delivered"] else f"failed: {result['error']}"
        click.echo(f"{result['channel']}  {printable(outcome)}")
    return GOOD if all(result["delivered"] for result in results) else GATE_TRIPPED


@alerts.command("replay")
@click.argument("delivery_id")
@source_options
def replay_command(*, delivery_id: str, **more: Any) -> int:
    """Send a notification once more, under the same `webhook-id`."""
    from urllib.parse import quote

    found = _post(_source(more), f"/deliveries/{quote(delivery_id, safe='')}/replay")
    click.echo(f"{found['id']}  {found['event']} to {found['channel']}: {found['state']}")
    return GOOD


def _source(more: dict[str, Any]) -> "Source":
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    data_dir: Path | None = more["data_dir"]
    return Source.find(SourceOptions(more["config"], data_dir, more["server"]), SystemClock())


def _post(source: "Source", path: str) -> dict[str, Any]:
    """Ask the server that runs: only it sends.

    Raises
    ------
    UnreachableError
        None runs.
    """

    def ask(server: "Server") -> dict[str, Any]:
        return _decoded(server.post(path, {}))

    def read(_: "Database") -> dict[str, Any]:
        raise UnreachableError(
            f"no server runs on {source.data_dir}; start `monitor serve`, or say --server URL"
        )

    return source.use(ask, read)


def _decoded(body: bytes) -> dict[str, Any]:
    import msgspec

    from gateway.cli.source import ServerGone

    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ServerGone(f"its answer cannot be read: {error}") from error


def _as_json(found: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _as_table(found: dict[str, Any]) -> str:
    # Categories of answers stand in summaries, receivers' own words in errors.
    from monitors.report.printable import printable
    from monitors.windows import from_us

    lines = []
    for alert in found["alerts"]:
        ended = "still open" if alert["resolved_at"] is None else from_us(alert["resolved_at"])
        lines.append(
            f"{from_us(alert['opened_at'])}  {ended:<20}  {alert['severity']:<8}"
            f"  {printable(alert['summary'][:_SUMMARY_CHARS])}"
        )
    if not lines:
        lines.append("no alerts in this period")
    for state in ("pending", "dead"):
        for delivery in found[state]:
            why = printable(delivery["last_error"] or "not tried yet")
            lines.append(
                f"{state}: {delivery['id']}  {delivery['event']} to {delivery['channel']},"
                f" {delivery['tries']} tries: {why}"
            )
    return "\n".join(lines) + "\n"
