"""The hidden command that is one of the demo's model servers: an engine on a Unix socket."""

from pathlib import Path

import click

from gateway.demo.stage import ENGINES
from gateway.engine_process import run_engine
from local_engine.config import DEFAULT_MODEL


@click.command(hidden=True)
@click.option("--name", type=click.Choice(list(ENGINES)), required=True)
@click.option("--listen", type=click.Path(path_type=Path), required=True)
def demo_upstream(*, name: str, listen: Path) -> int:
    """Serve the model until SIGTERM; return the exit code."""
    return run_engine(listen, ENGINES[name], DEFAULT_MODEL)
