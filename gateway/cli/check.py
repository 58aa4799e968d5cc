"""`monitor check`: is a configuration good, and what does it come to."""

import os
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GOOD
from gateway.config_source import current_source
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.config import Settings
    from router.config import RouteConfig, UpstreamConfig


@click.command()
@click.argument("file", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file instead.")
def check(file: str | None, *, schema: bool) -> int:
    """Check a configuration, and print what it comes to; exit 2 with every problem in it.

    Without FILE it is the one that `serve` would take: $DRIFTGATE_CONFIG, ./driftgate.yaml,
    ~/.config/driftgate/driftgate.yaml, or else the environment.

    \b
    Examples:
      monitor check
      monitor check staging.yaml
      monitor check --schema > driftgate.schema.json
    """
    if schema:
        click.echo(schema_text(), nl=False)
        return GOOD
    source = current_source(file)
    settings = load_settings(source, os.environ)
    upstreams = _count(len(settings.upstreams), "upstream")
    click.echo(f"{source} is good: {upstreams}, {_count(len(settings.routes), 'route')}", err=True)
    click.echo(summary(settings), nl=False)
    return GOOD


def summary(settings: "Settings") -> str:
    """Return what a configuration comes to, one line a thing, without secrets."""
    from monitors.alerts.channels import channel_name

    gateway, record, monitors = settings.gateway, settings.record, settings.monitors
    keys = _count(len(gateway.keys), "client key") if gateway.keys else "no client keys"
    rows = [
        ("listen", "", f"{gateway.listen}, {_count(gateway.workers, 'worker')}, {keys}"),
        ("control", "", f"{gateway.control}{', with a key' if gateway.admin_key else ''}"),
        ("data", "", gateway.data_dir),
    ]
    rows += [("upstream", name, _upstream(one)) for name, one in settings.upstreams.items()]
    rows += [("route", name, _route(one)) for name, one in settings.routes.items()]
    kept = record.retention
    text = "no text" if record.payloads == "none" else f"text for {kept.payloads} d"
    facts = f"facts for {kept.predictions} d, roll-ups for {kept.rollups} d"
    sizes = {"text": kept.payloads_size, "all": kept.total_size}
    bounds = [f"{what} at most {size:,} bytes" for what, size in sizes.items() if size is not None]
    rows.append(("record", "", ", ".join([facts, text, *bounds, record.on_full])))
    rate = f"{monitors.false_alarms_per_30d:g} false alarms in 30 d"
    looks = f"every {monitors.every:g} s over {monitors.window:g} s, at most {rate} a route"
    rows.append(("monitors", "", looks if monitors.enabled else "off"))
    rows += [("alert", "", channel_name(channel)) for channel in settings.alerts]
    return "".join(f"{what:<9} {name:<12} {text}\n" for what, name, text in rows)


def schema_text() -> str:
    """Return the JSON Schema of the configuration file, as text."""
    import msgspec

    from gateway.config import Settings

    schema = Settings.model_json_schema()
    # Names of upstreams and routes are their keys, so nobody writes them.
    for name in ("UpstreamConfig", "RouteConfig"):
        del schema["$defs"][name]["properties"]["name"]
    schema["title"] = "driftgate.yaml"
    found: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _upstream(upstream: "UpstreamConfig") -> str:
    if upstream.engine:
        return f"embedded {upstream.engine}, {upstream.model or 'default model'}"
    text = f"{upstream.url}, " + (f"model {upstream.model}" if upstream.model else "model as asked")
    return text + (", with a key" if upstream.api_key else "")


def _route(route: "RouteConfig") -> str:
    parts = [_shares(route.split)]
    if route.shadow:
        parts.append(f"shadow {_shares(route.shadow)}")
    if route.fallback:
        parts.append(f"then {', '.join(route.fallback)}")
    if route.cache:
        parts.append(f"cached {route.cache.ttl:g} s")
    return "; ".join(parts)


def _shares(weights: dict[str, float]) -> str:
    return ", ".join(f"{weight:g} {name}" for name, weight in weights.items())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
