"""Markdown tables of medians over rounds, and the line that says what was measured with what."""

import datetime as dt
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return median and range; NaN stands for a round without a value."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    middle = f"{statistics.median(known):.{digits}f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({min(known):.{digits}f}-{max(known):.{digits}f})"


def ratio(values: Sequence[float], floor: Sequence[float]) -> str:
    """Return the median of the ratios round by round, and their range."""
    if len(values) != len(floor):
        return "-"
    return spread([a / b for a, b in zip(values, floor, strict=True)], 2)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile: the smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def conditions() -> str:
    """Return day, machine, versions and load."""
    packages = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("uvloop", "httptools", "msgspec", "duckdb")
    )
    today = dt.datetime.now(dt.UTC).date()
    return (
        f"{today}, {os.cpu_count()} cores ({_processor()}), Python {platform.python_version()},"
        f" {packages}, {_said('nginx', '-v')}, {_said('wrk', '-v')};"
        f" load average {os.getloadavg()[0]:.1f} before the run"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _said(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    words = (done.stderr + done.stdout).replace("nginx version: nginx/", "nginx ").split()
    return " ".join(words[:2]).replace("debian/", "")
