"""driftgate: the launcher. The rooms live beside it in a checkout and below it in a wheel."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the `monitor` command line and return its exit code."""
    # Names such as `stats` and `router` exist in other distributions, so the wheel nests
    # ours below this folder; there they must win over anything else that is installed.
    if (HERE / "gateway").is_dir():
        sys.path.insert(0, str(HERE))
    from gateway.cli.main import main as run

    return run()
