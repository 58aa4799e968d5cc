"""`monitor serve`."""

import logging
import os
import sys
from pathlib import Path

import click

from gateway.config import Settings, split_address
from gateway.config_source import current_source
from gateway.errors import ConfigError
from gateway.exposure import open_addresses
from gateway.settings import load_settings
from gateway.supervisor import ServeOptions, Supervisor
from router.clock import SystemClock


@click.command()
@click.option(
    "--config", "config_path", metavar="FILE", help="Configuration; default: see `check`."
)
@click.option("--host", help="Address of the data plane instead of `gateway.listen`'s.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the data plane; 0: any.")
@click.option("--control", metavar="HOST:PORT", help="Instead of `gateway.control`.")
@click.option("--workers", type=click.IntRange(1, 64), help="Instead of `gateway.workers`.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Instead of `gateway.data_dir`.")
@click.option("--insecure", is_flag=True, help="Allow addresses beyond this machine without keys.")
@click.option("-v", "--verbose", is_flag=True, help="Log what every process does.")
def serve(config_path: str | None, *, insecure: bool, verbose: bool, **overrides: object) -> None:
    """Start the data plane, the control plane and the engine, and keep them running.

    Without a configuration every model name is answered by the embedded engine, or by
    OPENAI_BASE_URL / OPENAI_API_KEY with the engine as fallback. SIGHUP and a change of the file
    reload it; SIGTERM drains and ends.
    """
    import uvloop

    configure_logging(verbose=verbose)
    source = current_source(config_path)
    settings = load_settings(source, os.environ)
    options = _options(settings, overrides)
    if not insecure:
        refuse_open_addresses(settings, options)
    from dataclasses import replace

    supervisor = Supervisor(
        replace(options, source=source, verbose=verbose, insecure=insecure), settings, SystemClock()
    )
    uvloop.run(supervisor.run())


def _options(settings: Settings, overrides: dict[str, object]) -> ServeOptions:
    gateway = settings.gateway
    host, port = split_address(gateway.listen)
    host = str(overrides["host"] or host).strip("[]")
    port = port if overrides["port"] is None else int(str(overrides["port"]))
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    control = str(overrides["control"] or gateway.control)
    for option, address in (("--host", listen), ("--control", control)):
        try:
            split_address(address)
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from error
    from gateway.config_source import Source

    return ServeOptions(
        source=Source(None),
        listen=listen,
        control=control,
        workers=int(str(overrides["workers"] or gateway.workers)),
        data_dir=Path(str(overrides["data_dir"] or gateway.data_dir)).absolute(),
    )


def refuse_open_addresses(settings: Settings, options: ServeOptions) -> None:
    """Refuse to be reachable from elsewhere without keys.

    Raises
    ------
    ConfigError
        An address is not loopback and nothing asks for a key there.
    """
    problems = open_addresses(settings, listen=options.listen, control=options.control)
    if problems:
        raise ConfigError(problems, source="the configuration")


def configure_logging(*, verbose: bool) -> None:
    """Write this process's log to stderr, one line an event."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
