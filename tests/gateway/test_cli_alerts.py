"""`monitor alerts` on the bare file."""

import subprocess
import sys
from pathlib import Path

from router.clock import SystemClock
from storage.database import Database

ROOT = Path(__file__).resolve().parents[2]


def test_a_list_imports_no_web_framework(tmp_path: Path) -> None:
    """Alerts of a bare file are listed without FastAPI, which takes longer than the list."""
    Database.open(tmp_path, now_us=SystemClock().now_us).close()
    arguments = ["alerts", "list", "--data-dir", str(tmp_path)]
    probe = (
        "import sys; from gateway.cli.exits import run_command; from gateway.cli.main import cli;"
        f"run_command(cli, {arguments!r});"
        "sys.exit(' '.join({'fastapi', 'uvicorn', 'httpx2'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no alerts" in done.stdout
