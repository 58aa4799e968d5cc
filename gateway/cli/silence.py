"""`monitor alerts silence`: hold notifications back for a while."""

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GOOD
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from storage.database import Database

_MATCHERS = {
    "route": "Route, such as `chat`.",
    "kind": "Kind of alert: drift, quality, slo, spend, performance, rollout.",
    "subject": "What the alert is about, such as an SLO's name.",
    "severity": "`warning` or `critical`.",
    "segment": "Segment of all features of the alert, such as `variant=canary`.",
    "feature": "All features of the alert.",
}


def _matcher_options(command: Any) -> Any:
    for name, text in reversed(_MATCHERS.items()):
        command = click.option(f"--{name}", metavar="PATTERN", help=text)(command)
    return command


@click.command("silence")
@_matcher_options
@click.option("--for", "lasts", metavar="DURATION", help="Such as `2h`, `1d12h`.")
@click.option(
    "--from",
    "starts",
    metavar="TIME",
    help="Such as `2026-11-21T22:00Z`, or `3h` from now.  [default: now]",
)
@click.option("--comment", default="", help="Why; shown in the list.")
@click.option("--author", default="", envvar="USER", show_envvar=True, help="Who.")
@click.option("--end", metavar="ID", help="End this silence now.")
@click.option("--list", "listed", is_flag=True, help="Show silences; also without other options.")
@click.option("--all", "everything", is_flag=True, help="Show those that have ended, too.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@source_options
def silence(*, lasts: str | None, end: str | None, form: str, **more: Any) -> int:
    """Silence alerts, list silences, end one.

    An alert is silenced when every pattern given fits it; `*` and `?` stand for any text and any
    character. Its notifications wait: they are sent when the silence ends and the alert is still
    open, else never. The end of an alert that receivers know of is always told.

    \b
    Examples:
      monitor alerts silence --route chat --for 2h --comment "load test"
      monitor alerts silence --route '*' --kind drift --from 2026-11-21T22:00Z --for 4h
      monitor alerts silence --list
      monitor alerts silence --end 0190a1b2-...
    """
    from gateway.cli.alert_calls import as_json, asked, find_source

    source = find_source(more)
    patterns = {name: more[name] for name in _MATCHERS if more[name] is not None}
    if end is not None:
        from urllib.parse import quote

        path = f"/silences/{quote(end, safe='')}"
        found = asked(source, lambda server: server.delete(path, {}))
    elif patterns:
        wanted = _wanted(patterns, lasts, more, source.clock.now_us())
        found = asked(source, lambda server: server.post("/silences", wanted))
    else:
        if lasts is not None:
            raise click.UsageError("say what to silence, such as `--route chat`; `*` is all routes")
        return _list(source, form, everything=more["everything"])
    click.echo(as_json(found) if form == "json" else _line(found) + "\n", nl=False)
    return GOOD


def _list(source: Any, form: str, *, everything: bool) -> int:
    from gateway.cli.alert_calls import as_json, decoded

    def read(database: "Database") -> dict[str, Any]:
        from gateway.api.alert_shapes import silence_list
        from storage.repository import Repository

        now_us = source.clock.now_us()
        return silence_list(Repository(database), now_us, ended=everything).model_dump()

    query = {"ended": str(everything).lower()}
    found = source.use(lambda server: decoded(server.get("/silences", query)), read)
    if form == "json":
        click.echo(as_json(found), nl=False)
    else:
        lines = [_line(one) for one in found["silences"]]
        click.echo("\n".join(lines) if lines else "nothing is silenced")
    return GOOD


def _wanted(
    patterns: dict[str, str], lasts: str | None, more: dict[str, Any], now_us: int
) -> dict[str, object]:
    from router.duration_text import parse_duration_s

    if lasts is None:
        raise click.UsageError("say for how long, such as `--for 2h`")
    try:
        duration_s = parse_duration_s(lasts)
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from error
    return {
        "matchers": patterns,
        "duration_s": duration_s,
        "starts_at": None if more["starts"] is None else _start_us(more["starts"], now_us),
        "author": more["author"],
        "comment": more["comment"],
    }


def _start_us(text: str, now_us: int) -> int:
    """Return a time to come: ISO 8601, UTC where it names no zone, or a duration from now."""
    from datetime import UTC, datetime

    from router.duration_text import parse_duration_s

    try:
        return now_us + round(parse_duration_s(text) * 1_000_000)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise click.UsageError(
                f"--from: `{text}` is no time; write such as `2026-11-21T22:00Z`, or `3h` for in"
                " three hours"
            ) from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)


def _line(silence: dict[str, Any]) -> str:
    from monitors.report.printable import printable
    from monitors.windows import from_us

    matchers = " ".join(f"{name}={pattern}" for name, pattern in silence["matchers"].items())
    said = " ".join(text for text in (silence["author"], silence["comment"]) if text)
    times = f"{from_us(silence['starts_at'])} to {from_us(silence['ends_at'])}"
    line = f"{silence['id']}  {silence['state']:<7}  {times}  {matchers}"
    return printable(f"{line}  ({said})" if said else line)
