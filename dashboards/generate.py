"""Writes the generated files of the repository: boards, their provisioning, docs/metrics.md.

    python -m dashboards.generate

Needs the development group `boards`; users of the package read the files it wrote.
"""

from pathlib import Path

from dashboards.boards.overview import OVERVIEW
from dashboards.files import export
from dashboards.metrics_page import metrics_page
from dashboards.panels import to_json

ROOT = Path(__file__).resolve().parents[1]


def generated() -> dict[Path, str]:
    """Return the text of each generated file, the copies under `deploy/` left out."""
    return {
        ROOT / "dashboards" / "json" / "overview.json": to_json(OVERVIEW),
        ROOT / "docs" / "metrics.md": metrics_page(),
    }


def main() -> None:
    """Write them all."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    export(ROOT / "deploy" / "grafana")


if __name__ == "__main__":
    main()
