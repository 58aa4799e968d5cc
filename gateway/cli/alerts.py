"""`monitor alerts`: what is open, whether channels work, what was not delivered."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GATE_TRIPPED, GOOD, UnreachableError
from gateway.config import Settings
from gateway.paths import control_file
from gateway.settings import current_source, load_settings
from router.clock import SystemClock
from router.durations import parse_duration_s

if TYPE_CHECKING:
    from gateway.api.alerts import AlertList

# A trial waits for the slowest channel, which gets 15 s.
_TIMEOUT_S = 30.0
_SUMMARY_CHARS = 100

Function = Callable[..., Any]


def _common(function: Function) -> Function:
    options = (
        click.option(
            "--config", "config_path", metavar="FILE", help="Configuration of the server."
        ),
        click.option("--data-dir", type=click.Path(path_type=Path), help="Its data directory."),
        click.option("--server", metavar="URL", help="Control plane; default: the one running."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def alerts() -> None:
    r"""List alerts and notifications; test the channels; send a notification again.

    \b
    Examples:
      monitor alerts list --since 7d
      monitor alerts test
      monitor alerts replay 0190a1b2-...
    """


@alerts.command("list")
@_common
@click.option("--since", default="7d", show_default=True, help="Duration, such as `90m`, `7d`.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table")
def list_(
    config_path: str | None, data_dir: Path | None, server: str | None, since: str, format_: str
) -> int:
    """List the alerts of a period, and the notifications that wait or were given up."""
    try:
        since_s = parse_duration_s(since)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    until_us = SystemClock().now_us()
    since_us = max(0, until_us - round(since_s * 1e6))
    place = Place(config_path, data_dir, server)
    url = place.server_url()
    found = (
        _from_file(place.data_dir, since_us, until_us)
        if url is None
        else place.ask(url, "GET", f"/alerts?since_us={since_us}&until_us={until_us}")
    )
    click.echo(_as_json(found) if format_ == "json" else _as_table(found), nl=False)
    return GOOD


@alerts.command()
@_common
def test(config_path: str | None, data_dir: Path | None, server: str | None) -> int:
    """Send a trial notification to every channel; exit 1 when one did not take it."""
    place = Place(config_path, data_dir, server)
    results = place.ask(place.running_url(), "POST", "/alerts/test")["results"]
    if not results:
        raise click.UsageError("the server has no channels; add one under `alerts`")
    for result in results:
        outcome = "delivered" if result["delivered"] else f"failed: {result['error']}"
        click.echo(f"{result['channel']}  {outcome}")
    return GOOD if all(result["delivered"] for result in results) else GATE_TRIPPED


@alerts.command()
@click.argument("delivery_id")
@_common
def replay(
    delivery_id: str, config_path: str | None, data_dir: Path | None, server: str | None
) -> int:
    """Send a notification once more, under the same `webhook-id`."""
    from urllib.parse import quote

    place = Place(config_path, data_dir, server)
    path = f"/deliveries/{quote(delivery_id, safe='')}/replay"
    found = place.ask(place.running_url(), "POST", path)
    click.echo(f"{found['id']}  {found['event']} to {found['channel']}: {found['state']}")
    return GOOD


class Place:
    """Where the server and its files are, by options and configuration."""

    def __init__(self, config_path: str | None, data_dir: Path | None, server: str | None) -> None:
        self._config_path = config_path
        self._server = server
        self._settings: Settings | None = None
        self.data_dir = data_dir or Path(self._read_settings().gateway.data_dir)

    def server_url(self) -> str | None:
        """Return the control plane's address, or None when none has left one."""
        import msgspec

        if self._server is not None:
            return self._server.rstrip("/")
        try:
            written = msgspec.json.decode(control_file(self.data_dir).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        # A killed server leaves its file behind.
        return str(written["url"]) if _is_alive(int(written["pid"])) else None

    def running_url(self) -> str:
        """Return the control plane's address.

        Raises
        ------
        UnreachableError
            None runs.
        """
        url = self.server_url()
        if url is None:
            raise UnreachableError(
                f"no server runs on {self.data_dir}; start `monitor serve`, or say --server URL"
            )
        return url

    def ask(self, url: str, method: str, path: str) -> dict[str, Any]:
        """Return the JSON of an answer of the control plane.

        Raises
        ------
        UnreachableError
            It did not answer, or not as asked.
        """
        import httpx2

        key = self._read_settings().gateway.admin_key
        headers = {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}
        try:
            answer = httpx2.request(
                method,
                f"{url}/api/v1{path}",
                headers=headers,
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
        except httpx2.HTTPError as error:
            raise UnreachableError(f"{url} does not answer: {error}") from error
        try:
            found: dict[str, Any] = answer.json()
        except ValueError as error:
            raise UnreachableError(f"{url} is no control plane of driftgate") from error
        told = found.get("error", {}).get("message", "no reason given")
        if answer.status_code == 404:
            raise click.UsageError(f"{url} has nothing under that id: {told}")
        if answer.status_code != 200:
            raise UnreachableError(f"{url} answered {answer.status_code}: {told}")
        return found

    def _read_settings(self) -> Settings:
        if self._settings is None:
            self._settings = load_settings(current_source(self._config_path), os.environ)
        return self._settings


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _from_file(data_dir: Path, since_us: int, until_us: int) -> dict[str, Any]:
    from gateway.api.alerts import alert_list
    from storage.database import Database
    from storage.repository import Repository

    database = Database.open_read_only(data_dir)
    try:
        found: AlertList = alert_list(Repository(database), since_us, until_us, limit=100)
    finally:
        database.close()
    return found.model_dump()


def _as_json(found: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _as_table(found: dict[str, Any]) -> str:
    from monitors.windows import from_us

    lines = []
    for alert in found["alerts"]:
        ended = "still open" if alert["resolved_at"] is None else from_us(alert["resolved_at"])
        lines.append(
            f"{from_us(alert['opened_at'])}  {ended:<20}  {alert['severity']:<8}"
            f"  {alert['summary'][:_SUMMARY_CHARS]}"
        )
    if not lines:
        lines.append("no alerts in this period")
    for state in ("pending", "dead"):
        for delivery in found[state]:
            why = delivery["last_error"] or "not tried yet"
            lines.append(
                f"{state}: {delivery['id']}  {delivery['event']} to {delivery['channel']},"
                f" {delivery['tries']} tries: {why}"
            )
    return "\n".join(lines) + "\n"
