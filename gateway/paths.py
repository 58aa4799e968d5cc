"""Where things lie below the data directory."""

import hashlib
import tempfile
from pathlib import Path

_MAX_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, its final NUL included


def spool_dir(data_dir: Path) -> Path:
    """Return the directory of the workers' segments."""
    return data_dir / "spool"


def run_dir(data_dir: Path) -> Path:
    """Return the directory of sockets and addresses, valid while a server runs."""
    return data_dir / "run"


def control_file(data_dir: Path) -> Path:
    """Return the file in which a running control plane leaves its URL for the CLI."""
    return run_dir(data_dir) / "control.json"


def engine_socket(data_dir: Path) -> Path:
    """Return the engine's Unix socket; elsewhere when the data directory's path is too long."""
    path = run_dir(data_dir).absolute() / "engine.sock"
    if len(str(path).encode()) <= _MAX_SOCKET_PATH:
        return path
    name = hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"driftgate-{name}.sock"
