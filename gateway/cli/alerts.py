"""`monitor alerts`: what is open, whether channels work, what was not delivered."""

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GATE_TRIPPED, GOOD
from gateway.cli.silence import silence
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from storage.database import Database

_SUMMARY_CHARS = 200
_LIMIT = 100
_OUTBOX = {
    "pending": "notifications that wait",
    "dead": "notifications given up; `monitor alerts replay ID`, or `--all-dead`, sends them again",
}


@click.group()
def alerts() -> None:
    """List alerts and notifications; silence; test the channels; send a notification again.

    \b
    Examples:
      monitor alerts list --since 7d
      monitor alerts test
      monitor alerts silence --route chat --for 2h --comment "load test"
      monitor alerts replay 0190a1b2-...
    """


alerts.add_command(silence)


@alerts.command("list")
@click.option("--since", default="7d", show_default=True, help="Such as `90m`, `7d`, ISO 8601.")
@click.option("--until", help="End of the period.  [default: now]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def list_command(*, since: str, until: str | None, form: str, **more: Any) -> int:
    """List the alerts of a period, and the notifications that wait or were given up."""
    from gateway.cli.alert_calls import as_json, decoded, find_source
    from gateway.cli.since import TimeRefused, parse_interval

    source = find_source(more)
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

    found = source.use(lambda server: decoded(server.get("/alerts", query)), read)
    click.echo(as_json(found) if form == "json" else _as_table(found), nl=False)
    return GOOD


@alerts.command("test")
@source_options
def test_command(**more: Any) -> int:
    """Send a trial notification to every channel; exit 1 when one did not take it.

    One that answered 410 and takes this gets what comes next again.
    """
    from gateway.cli.alert_calls import asked, find_source
    from monitors.report.printable import printable

    results = asked(find_source(more), lambda server: server.post("/alerts/test", {}))["results"]
    if not results:
        raise click.UsageError("the server has no channels; add one under `alerts`")
    width = max(len(result["channel"]) for result in results)
    for result in results:
        outcome = "delivered" if result["delivered"] else f"failed: {result['error']}"
        click.echo(f"{result['channel']:<{width}}  {printable(outcome)}")
    return GOOD if all(result["delivered"] for result in results) else GATE_TRIPPED


@alerts.command("replay")
@click.argument("delivery_id", required=False)
@click.option("--all-dead", is_flag=True, help="All that were given up, the newest thousand.")
@source_options
def replay_command(*, delivery_id: str | None, all_dead: bool, **more: Any) -> int:
    """Send a notification once more, under the same `webhook-id`, for another 24 hours.

    \b
    Examples:
      monitor alerts replay 0190a1b2-...
      monitor alerts replay --all-dead
    """
    from urllib.parse import quote

    from gateway.cli.alert_calls import asked, find_source

    if (delivery_id is None) is not all_dead:
        raise click.UsageError("name one notification of `monitor alerts list`, or say --all-dead")
    source = find_source(more)
    if delivery_id is None:
        found = asked(source, lambda server: server.post("/deliveries/replay", {}))["deliveries"]
    else:
        path = f"/deliveries/{quote(delivery_id, safe='')}/replay"
        found = [asked(source, lambda server: server.post(path, {}))]
    for one in found:
        click.echo(f"{one['id']}  {one['event']} to {one['channel']}: {one['state']}")
    if not found:
        click.echo("nothing was given up")
    return GOOD


def _cut(text: str) -> str:
    return text if len(text) <= _SUMMARY_CHARS else f"{text[: _SUMMARY_CHARS - 1]}…"


def _as_table(found: dict[str, Any]) -> str:
    # Categories of answers stand in summaries, receivers' own words in errors.
    from monitors.report.printable import printable
    from monitors.windows import from_us

    lines = []
    for alert in found["alerts"]:
        ended = "still open" if alert["resolved_at"] is None else from_us(alert["resolved_at"])
        times = alert["data"].get("reopened", 0)
        again = f" (reopened {times} times)" if times else ""
        lines.append(
            f"{from_us(alert['opened_at'])}  {ended:<20}  {alert['severity']:<8}"
            f"  {printable(_cut(alert['summary']))}{again}"
        )
    if lines:
        lines.insert(0, f"{'opened':<20}  {'ended':<20}  {'severity':<8}  summary")
    else:
        lines.append("no alerts in this period")
    for state, title in _OUTBOX.items():
        if found[state]:
            lines += ["", f"{title}:"]
        for delivery in found[state]:
            why = printable(delivery["last_error"] or "not tried yet")
            lines.append(
                f"  {delivery['id']}  {delivery['event']} to {delivery['channel']},"
                f" {_tries(delivery['tries'])}: {why}"
            )
    # A server of an older program does not say.
    gone = found.get("gone", [])
    if gone:
        lines += ["", "channels switched off, as their receiver answered 410 (gone):"]
        lines += [f"  {printable(one['channel'])}, since {from_us(one['since'])}" for one in gone]
    return "\n".join(lines) + "\n"


def _tries(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"
