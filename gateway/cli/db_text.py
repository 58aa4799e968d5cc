"""Sizes, forecasts and deletions as lines for people."""

from gateway.api.db_shapes import DbReport
from gateway.cli.since import iso
from storage.lifecycle.forecast import Forecast
from storage.lifecycle.forget import ForgetResult
from storage.lifecycle.sizes import DatabaseInfo, FolderSize

_STEP = 1000.0
_DAY = 86_400_000_000


def size_text(size_bytes: float) -> str:
    """Return a size with a unit, in powers of a thousand."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(size) < _STEP:
            break
        size, unit = size / _STEP, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def report_lines(found: DbReport) -> list[str]:
    """Return what a data directory holds and will come to."""
    return [*_info_lines(found.info), *_done_lines(found), "", *forecast_lines(found.forecast)]


def forecast_lines(found: Forecast) -> list[str]:
    """Return what comes, one line a kind and one of all."""
    rows = [
        (kind.name, size_text(kind.bytes), f"{size_text(kind.bytes_per_day)} a day")
        for kind in found.kinds
    ]
    lines = [f"{name:<10} {now:>10} {growth:>16}" for name, now, growth in rows]
    return [*lines, forecast_sentence(found)]


def forecast_sentence(found: Forecast) -> str:
    """Return when the disk is full, or where the growth ends."""
    free = f"{size_text(found.free_bytes)} are free"
    if found.full_in_days is not None:
        return f"the disk is full in {found.full_in_days} days; {free}, lower `record.retention`"
    if not any(kind.bytes_per_day for kind in found.kinds):
        return f"no forecast before a whole day is recorded; {free}"
    steady = size_text(found.steady_bytes)
    return f"steady at {steady} in {found.steady_in_days} days; {free}"


def forget_lines(found: ForgetResult) -> list[str]:
    """Return what was removed, and what is left."""
    removed = (
        f"removed {found.predictions} predictions, {found.other_rows} rows of theirs,"
        f" {found.text_rows} texts, {found.archived_rows} rows of the archive,"
        f" {found.segments} segments of the spool"
    )
    return [removed, *(f"left: {one.file}: {one.why}" for one in found.remainders)]


def _done_lines(found: DbReport) -> list[str]:
    done = found.done
    if done is None:
        return []
    taken = (
        f"{done.retired_predictions:,} predictions, {size_text(done.retired_text_bytes)} of text"
    )
    return [f"since start retention took {taken}; {done.forgotten_predictions:,} were forgotten"]


def _info_lines(info: DatabaseInfo) -> list[str]:
    span = "nothing recorded"
    if info.oldest_at is not None and info.newest_at is not None:
        span = f"{iso(info.oldest_at // _DAY * _DAY)[:10]} to {iso(info.newest_at)}"
    a_record = "" if info.record_bytes is None else f", {info.record_bytes:.0f} B each"
    head = [
        f"{info.data_dir}, schema {info.schema_version}",
        f"predictions {info.predictions:,}{a_record}; {span}",
        f"file        {size_text(info.file_bytes)}, {size_text(info.free_bytes)} of it free",
        f"log         {size_text(info.wal_bytes)}, write-ahead",
        *(_folder_line(name, getattr(info, name)) for name in ("text", "archive", "spool")),
        f"lag         {size_text(info.lag_bytes)} of the spool are not in the database",
        f"text lag    {size_text(info.text_lag_bytes)} of the spool have text that is in no file",
    ]
    tables = [
        f"  {table.name:<24} {table.rows:>14,} rows {size_text(table.bytes):>10}"
        for table in info.tables
        if table.rows
    ]
    sources = [
        f"  {s.source}: segment {s.segment}, byte {s.byte_offset:,}, lag {size_text(s.lag_bytes)},"
        f" {s.open_requests} open{', finished' if s.finished else ''}"
        for s in info.sources
    ]
    losses = [f"losses      {kind}: {count}" for kind, count in info.losses.items()]
    return [*head, *tables, *sources, *losses]


def _folder_line(name: str, folder: FolderSize) -> str:
    return f"{name:<11} {size_text(folder.bytes)} in {folder.files} files"
