"""The command `monitor`: a group whose commands are imported when they run."""

import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import Any

import click

from gateway.cli.exits import USAGE, run_command

# Command to module and one line of help: `monitor --help` imports none of them.
COMMANDS = {
    "serve": ("gateway.cli.serve", "Start the gateway: data plane, control plane, engine."),
    "demo": ("gateway.cli.demo", "Show everything on real traffic, in under two minutes."),
    "report": ("gateway.cli.report", "Report traffic, latency, cost and drift of a period."),
    "drift": ("gateway.cli.drift", "Show what drifts; explain what moved, since when and where."),
    "logs": ("gateway.cli.logs", "Show the prediction log, follow it, or one prediction whole."),
    "export": ("gateway.cli.export", "Write a table of the log as Parquet, CSV or JSON Lines."),
    "sql": ("gateway.cli.sql", "Run one SELECT over the log."),
    "baseline": ("gateway.cli.baseline", "Set, list, show or drop the reference of drift."),
    "feedback": ("gateway.cli.feedback", "Tell what became of predictions: scores, labels."),
    "alerts": ("gateway.cli.alerts", "List alerts and deliveries; test a channel; replay."),
    "db": ("gateway.cli.db", "Look at the data directory; compact, back up, forget."),
    "doctor": ("gateway.cli.doctor", "Check that everything is there and keeps up."),
    "check": ("gateway.cli.check", "Check a configuration file, or print its JSON Schema."),
    "init": ("gateway.cli.init", "Write a configuration file to start from."),
    "dashboards": ("gateway.cli.dashboards", "Export the Grafana board and its provisioning."),
}
HIDDEN = {
    "_worker": "gateway.cli.processes",
    "_control": "gateway.cli.processes",
    "_engine": "gateway.cli.processes",
    "_apprise": "gateway.apprise_program",
    "_demo_upstream": "gateway.demo.upstream",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help, and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Return the commands that users see."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's signature)
        """Import a command."""
        module = COMMANDS[cmd_name][0] if cmd_name in COMMANDS else HIDDEN.get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(importlib.import_module(module), cmd_name.lstrip("_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's signature)
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest command when there is none of that name."""
        if args and args[0] not in COMMANDS and args[0] not in HIDDEN:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"No such command `{args[0]}`.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's signature)
    if value:
        from gateway.version import VERSION

        click.echo(f"driftgate {VERSION}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version)
def cli() -> None:
    """Route, record and watch model traffic.

    \b
    Examples:
      monitor serve                        every model name, answered by the embedded engine
      monitor serve --config driftgate.yaml
      monitor report --since 7d
      monitor baseline set --since 24h

    Exit codes: 0 good, 1 a gate tripped, 2 usage or configuration, 3 not enough or stale data,
    4 storage or server unreachable.
    """


def main() -> int:
    """Run the command line; return the exit code."""
    answers_once = sys.argv[1:2] in (["report"], ["drift"])
    if answers_once:
        _hurry()
    try:
        code = run_command(cli, sys.argv[1:])
    except KeyboardInterrupt:
        code = USAGE
    if answers_once:
        _leave(code)
    return code


def _hurry() -> None:
    """Spare a process that answers once what only pays in one that stays."""
    # Numpy starts a thread for every core, which no sum of ours uses.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(100_000)


def _leave(code: int) -> None:
    """End the process at once: freeing what goes with it anyway takes a tenth of a second."""
    for stream in (sys.stdout, sys.stderr):
        # One that was closed before the start is none.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
