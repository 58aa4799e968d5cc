"""`monitor demo`."""

import importlib.util
from pathlib import Path

import click

from gateway.cli.exits import GATE_TRIPPED, GOOD
from gateway.demo.stage import LEAST_REQUESTS


@click.command()
@click.option("--keep", is_flag=True, help="Leave the server running until Ctrl-C.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the prediction log here.  [default: a temporary directory]",
)
@click.option(
    "--requests",
    type=click.IntRange(LEAST_REQUESTS, 10_000),
    default=96,
    show_default=True,
    help="Requests in all, at least.",
)
def demo(*, keep: bool, data_dir: Path | None, requests: int) -> int:
    """Show everything on real traffic, in under two minutes.

    Two model servers, the gateway before them with its own engine behind, and the official
    `openai` client: a canary and a shadow, an outage that no client notices, a shift of the
    traffic that raises a signed webhook, a report. Nothing is computed beforehand.

    \b
    Exit codes: 0 all of it happened, 1 something did not, 2 the extra `demo` is missing.
    """
    if any(importlib.util.find_spec(name) is None for name in ("openai", "rich")):
        raise click.UsageError(
            "the demo speaks through the official client, which is not installed;"
            " run `pip install 'driftgate[demo]'` first"
        )
    import asyncio

    from gateway.demo.errors import DemoFailed, Interrupted
    from gateway.demo.run import DemoOptions, run_demo
    from gateway.demo.signals import until_told

    try:
        asyncio.run(until_told(run_demo(DemoOptions(requests, data_dir, keep=keep))))
    except DemoFailed as error:
        click.echo(f"monitor: the demo failed: {error}", err=True)
        return GATE_TRIPPED
    except Interrupted:
        # Ctrl-C is how a kept server is ended.
        return GOOD if keep else GATE_TRIPPED
    return GOOD
