"""`monitor dashboards`: the Grafana board and its provisioning."""

from pathlib import Path

import click

from gateway.cli.exits import GOOD, UnreachableError


@click.group()
def dashboards() -> None:
    r"""Export the Grafana board and its provisioning, or push the board to a Grafana.

    \b
    Examples:
      monitor dashboards export --output /etc/grafana
      monitor dashboards push --url http://127.0.0.1:3000 --token "$GRAFANA_TOKEN"

    The board reads Prometheus, which scrapes `/metrics` of the control plane.
    """


@dashboards.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("grafana"),
    show_default=True,
    help="Directory to write into.",
)
def export(output: Path) -> int:
    """Write the board and Grafana's provisioning files."""
    from dashboards.files import export as export_files

    try:
        written = export_files(output)
    except OSError as error:
        raise click.UsageError(
            f"`--output {output}` cannot be written: {error.strerror}"
        ) from error
    for path in written:
        click.echo(path)
    return GOOD


@dashboards.command()
@click.option("--url", required=True, help="Grafana's base URL.")
@click.option(
    "--token",
    required=True,
    envvar="GRAFANA_TOKEN",
    help="Token of a service account that may write dashboards.  [env: GRAFANA_TOKEN]",
)
def push(url: str, token: str) -> int:
    """Create or replace the board in a running Grafana."""
    try:
        from dashboards.errors import PushFailed
        from dashboards.push import push as push_boards
    except ModuleNotFoundError as error:
        if error.name != "grafana_client":
            raise
        raise click.UsageError(
            "`push` needs grafana-client: `pip install 'driftgate[grafana]'`, or write the files"
            " with `monitor dashboards export` and let Grafana read them"
        ) from error
    try:
        addresses = push_boards(url, token)
    except PushFailed as error:
        raise UnreachableError(str(error)) from error
    for address in addresses:
        click.echo(address)
    return GOOD
