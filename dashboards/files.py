"""The files that Grafana reads: boards and their provisioning, as they are shipped."""

from importlib.resources import files
from pathlib import Path

BOARDS = ("overview.json",)

_PROVIDER = """\
# Grafana reads boards from this folder: put the files of `dashboards/` there.
apiVersion: 1
providers:
  - name: driftgate
    folder: driftgate
    type: file
    disableDeletion: true
    allowUiUpdates: false
    options:
      path: /var/lib/grafana/dashboards/driftgate
"""

_DATASOURCE = """\
# `timeInterval` must be Prometheus's scrape interval: `$__rate_interval` is computed from it.
apiVersion: 1
datasources:
  - name: Prometheus
    type: prometheus
    access: proxy
    url: http://127.0.0.1:9090
    isDefault: true
    jsonData:
      timeInterval: 15s
"""


def board_text(name: str) -> str:
    """Return a shipped board's JSON; `name` is one of `BOARDS`."""
    return files("dashboards").joinpath("json", name).read_text("utf-8")


def grafana_files() -> dict[str, str]:
    """Return every file, by its path under Grafana's configuration folder."""
    return {f"dashboards/{name}": board_text(name) for name in BOARDS} | {
        "provisioning/dashboards/driftgate.yaml": _PROVIDER,
        "provisioning/datasources/driftgate.yaml": _DATASOURCE,
    }


def export(directory: Path) -> list[Path]:
    """Write every file under a directory; return their paths.

    Raises
    ------
    OSError
        A file or folder cannot be written.
    """
    written = []
    for name, text in grafana_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written
