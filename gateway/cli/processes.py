"""The hidden commands with which the supervisor starts its children."""

import gc
import os
import socket
from pathlib import Path

import click

from gateway.cli.serve import configure_logging

GC_THRESHOLD = (20_000, 20, 50)

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
    _leave_signals_to_the_supervisor()
    import uvloop

    from gateway.worker import Worker, WorkerOptions

    configure_logging(verbose=verbose)
    options = WorkerOptions(name, data_dir, socket.socket(fileno=fd), socket.socket(fileno=channel))
    # Requests leave few cycles behind, and modules stay: looking at all of it every 700 objects
    # costs a tenth of a request.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    uvloop.run(Worker(options).run())


@click.command(hidden=True)
@_channel
@_data_dir
@_fd
@_verbose
def control(*, channel: int, data_dir: Path, fd: int, verbose: bool) -> None:
    """Run the control plane."""
    _leave_signals_to_the_supervisor()
    import uvloop

    from gateway.control_process import ControlOptions, ControlProcess

    configure_logging(verbose=verbose)
    options = ControlOptions(data_dir, socket.socket(fileno=fd), socket.socket(fileno=channel))
    # Reports and drift may wait a moment, answers may not.
    os.nice(5)
    uvloop.run(ControlProcess(options).run())


@click.command(hidden=True)
@_channel
@_data_dir
@_verbose
def engine(*, channel: int, data_dir: Path, verbose: bool) -> int:
    """Run the embedded engine."""
    _leave_signals_to_the_supervisor()
    import uvloop

    from gateway.engine_child import run_engine_child

    configure_logging(verbose=verbose)
    return uvloop.run(run_engine_child(data_dir, socket.socket(fileno=channel)))


def _leave_signals_to_the_supervisor() -> None:
    """Ignore what a terminal or a service manager sends to the whole group.

    The order of shutdown is the supervisor's; its end of the channel closing ends a child, too.
    """
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
