"""The options that say where a command's answers come from; light, for `--help`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config`, `--data-dir` and `--server` to a command."""
    for option in (
        click.option("--server", metavar="URL", help="Ask this control plane."),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            help="Instead of `gateway.data_dir`.",
        ),
        click.option("--config", metavar="FILE", help="Configuration; default: as `serve`."),
    ):
        command = option(command)
    return command
