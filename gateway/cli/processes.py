"""The hidden commands with which the supervisor starts its children."""

import socket
from pathlib import Path

import click

from gateway.cli.serve import configure_logging

_channel = click.option("--channel", type=int, required=True)
_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), required=True)
_fd = click.option("--fd", type=int, required=True)
_verbose = click.option("--verbose", is_flag=True)


@click.command(hidden=True)
@_channel
@_data_dir
@_fd
@_verbose
@click.option("--name", required=True)
def worker(*, channel: int, data_dir: Path, fd: int, verbose: bool, name: str) -> None:
    """Run one data plane process."""
    import uvloop

    from gateway.worker import Worker, WorkerOptions

    configure_logging(verbose=verbose)
    _leave_signals_to_the_supervisor()
    options = WorkerOptions(name, data_dir, socket.socket(fileno=fd), socket.socket(fileno=channel))
    uvloop.run(Worker(options).run())


@click.command(hidden=True)
@_channel
@_data_dir
@_fd
@_verbose
def control(*, channel: int, data_dir: Path, fd: int, verbose: bool) -> None:
    """Run the control plane."""
    import uvloop

    from gateway.control_process import ControlOptions, ControlProcess

    configure_logging(verbose=verbose)
    _leave_signals_to_the_supervisor()
    options = ControlOptions(data_dir, socket.socket(fileno=fd), socket.socket(fileno=channel))
    uvloop.run(ControlProcess(options).run())


@click.command(hidden=True)
@_channel
@_data_dir
@_verbose
def engine(*, channel: int, data_dir: Path, verbose: bool) -> int:
    """Run the embedded engine."""
    import uvloop

    from gateway.engine_child import run_engine_child

    configure_logging(verbose=verbose)
    _leave_signals_to_the_supervisor()
    return uvloop.run(run_engine_child(data_dir, socket.socket(fileno=channel)))


def _leave_signals_to_the_supervisor() -> None:
    """Ignore a terminal's SIGINT: it reaches the whole group, and the order is the supervisor's."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
