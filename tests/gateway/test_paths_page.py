"""`docs/paths.md` says what the tables of operations say."""

from pathlib import Path

import pytest

from gateway.protocols.table import ANTHROPIC, OPENAI, find_operation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "paths.md").read_text(encoding="utf-8")
FAMILIES = ("files", "uploads", "batches", "vector_stores", "fine_tuning", "threads", "videos")


@pytest.mark.parametrize("path", [*OPENAI.asked, *ANTHROPIC.asked])
def test_every_operation_stands_in_the_page(path: str) -> None:
    """What is asked by POST is named with its path's last part and its operation."""
    operation = find_operation("POST", path)
    last = path.rpartition("/")[2]
    lines = [line for line in PAGE.splitlines() if f"`{operation.name}`" in line]
    assert any(f"/{last}`" in line or f"`{last}`" in line for line in lines)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_stands_in_the_page(family: str) -> None:
    """So are the families of what upstreams keep."""
    assert find_operation("GET", f"/v1/{family}/x").name == family
    assert family in PAGE
