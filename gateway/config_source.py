"""Which configuration file is used; light, for commands that may need none."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration was found; `path` is None for the environment alone."""

    path: Path | None

    def __str__(self) -> str:
        return str(self.path) if self.path else "the environment"


def find_config(explicit: str | None, environ: Mapping[str, str], cwd: Path, home: Path) -> Source:
    """Return the first of `--config`, `$DRIFTGATE_CONFIG`, `./driftgate.yaml`, the user's own.

    Raises
    ------
    ConfigError
        A file that was named does not exist.
    """
    for named, origin in (
        (explicit, "--config"),
        (environ.get("DRIFTGATE_CONFIG"), "$DRIFTGATE_CONFIG"),
    ):
        if named:
            path = Path(named)
            if not path.is_file():
                problem = (
                    f"{origin} names `{named}`, which is no file; write one with `monitor init`"
                )
                raise ConfigError([problem], source=named)
            return Source(path.absolute())
    for path in (cwd / "driftgate.yaml", home / ".config" / "driftgate" / "driftgate.yaml"):
        if path.is_file():
            return Source(path)
    return Source(None)


def current_source(explicit: str | None) -> Source:
    """Return the source this process would use."""
    return find_config(explicit, os.environ, Path.cwd(), Path.home())
