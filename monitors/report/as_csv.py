"""The report as one long table: a line for every number and word, tidy, with its interval."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from monitors.report.model import Report

COLUMNS = (
    *("section", "route", "variant", "role", "segment", "subject", "at", "metric"),
    *("value", "low", "high", "n"),
)
_SUBJECTS = ("feature", "subject", "upstream", "name", "metric", "kind", "event", "id")
_PLACES = {"route", "variant", "role", "segment", "at", "opened_at"}
_INTERVALS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "error_share": ("error_low", "error_high", ("n",)),
    "value": ("low", "high", ("n_current", "n")),
    "difference": ("low", "high", ("n",)),
}
_COUNTED = ("p50", "p95", "p99")
"""Percentiles of as many rows as stand beside them."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class _Place(NamedTuple):
    section: str
    route: str = ""
    variant: str = ""
    role: str = ""
    segment: str = ""
    subject: str = ""
    at: str = ""


def render_csv(report: Report) -> str:
    """Return CSV with a line of names; unknown is empty, times are microseconds since the epoch.

    Words that a spreadsheet would take for a formula begin with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(msgspec.to_builtins(report)):
        writer.writerow(map(_plain, row))
    return text.getvalue()


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for section, value in report.items():
        if isinstance(value, Mapping):
            yield from _leaves(_Place(section), "", value)
        elif isinstance(value, list | tuple) and section != "notes":
            for record in value:
                yield from _leaves(_place(section, record), "", record)
        elif section == "notes":
            for note in value:
                yield (*_Place("notes"), "note", note, None, None, None)
        else:
            yield (*_Place("report"), section, value, None, None, None)


def _place(section: str, record: Mapping[str, Any]) -> _Place:
    subject = next((str(record[name]) for name in _SUBJECTS if record.get(name)), "")
    at = next((str(record[name]) for name in ("at", "opened_at") if name in record), "")
    where = {name: str(record.get(name, "")) for name in ("route", "variant", "role", "segment")}
    return _Place(section, subject=subject, at=at, **where)


def _leaves(place: _Place, prefix: str, record: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    paired: set[str] = set()
    for name in record.keys() & _INTERVALS.keys():
        low, high, _ = _INTERVALS[name]
        paired |= {low, high}
    for name, value in record.items():
        if name in paired or (not prefix and name in _PLACES):
            continue
        metric = prefix + name
        if isinstance(value, Mapping):
            yield from _leaves(place, f"{metric}.", value)
        elif isinstance(value, list | tuple):
            yield from _listed(place, metric, value)
        else:
            yield (*place, metric, value, *_interval(name, record))


def _listed(place: _Place, metric: str, values: Sequence[Any]) -> Iterator[tuple[object, ...]]:
    for number, value in enumerate(values):
        names = ("reason", "label", "feature", "metric")
        label = next((value[name] for name in names if value.get(name)), number)
        part = value.get("variant") or value.get("segment")
        # A metric comes once for the route, and once for each variant.
        label = f"{label} {part}" if part and "metric" in value else label
        if "route" in value:
            yield from _leaves(_place(f"{place.section}.{metric}", value), "", value)
        else:
            yield from _leaves(place, f"{metric}.{label}.", value)


def _interval(name: str, record: Mapping[str, Any]) -> tuple[object, object, object]:
    if name in _COUNTED:
        return None, None, record.get("n")
    if name not in _INTERVALS:
        return None, None, None
    low, high, rows = _INTERVALS[name]
    n = next((record[found] for found in rows if found in record), None)
    return record.get(low), record.get(high), n


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return "" if value is None else value
