"""Where text lies on the disk: `payloads/day=YYYY-MM-DD/t<number>.parquet`."""

import re
from datetime import date, timedelta
from pathlib import Path

import duckdb

from storage.errors import DatabaseUnreadable
from storage.files import unaddressable
from storage.times import DAY_US

FOLDER = "payloads"
SPILL = ".spill"
COLUMNS = (
    "id, started_at, request_parts, response, request_truncated, response_truncated,"
    " response_type, source, segment, byte_offset"
)
"""Of a text file; older files have `request` instead and do not say where it came from."""

_EPOCH = date(1970, 1, 1)
_DAY_FOLDER = re.compile(r"day=\d{4}-\d\d-\d\d")
_TEXT_FILE = re.compile(r"t\d{6,}\.parquet")
_OLD_FILE = re.compile(r"\d+\.parquet")
_OLD_NO_ROWS = (
    "SELECT NULL::UUID AS id, NULL::TIMESTAMP AS started_at, '' AS request, '' AS response,"
    " false AS request_truncated, false AS response_truncated, '' AS response_type WHERE false"
)
_NO_ROWS = (
    "SELECT NULL::UUID AS id, NULL::TIMESTAMP AS started_at, ['']::VARCHAR[] AS request_parts,"
    " '' AS response, false AS request_truncated, false AS response_truncated,"
    " '' AS response_type, '' AS source, 0::BIGINT AS segment, 0::BIGINT AS byte_offset"
    " WHERE false"
)


def prepare_folder(data_dir: Path) -> None:
    """Make the folder with two files without rows, as DuckDB refuses a glob that finds nothing.

    Raises
    ------
    DatabaseUnreadable
        DuckDB would not find them there.
    """
    culprit = unaddressable(data_dir)
    if culprit is not None:
        raise DatabaseUnreadable(
            f"`gateway.data_dir` is `{data_dir}`, and DuckDB reads no path with `{culprit}` in it;"
            " choose another folder"
        )
    folder = data_dir / FOLDER / "none"
    folder.mkdir(parents=True, exist_ok=True)
    for name, select in (("0.parquet", _OLD_NO_ROWS), ("t0.parquet", _NO_ROWS)):
        target = folder / name
        if not target.exists():
            partial = target.with_suffix(".tmp")
            with duckdb.connect(":memory:") as memory:
                memory.execute(f"COPY ({select}) TO {quoted(partial)} (FORMAT parquet)")
            partial.replace(target)


def day_of(started_at: int) -> str:
    """Return the UTC day of a time in microseconds, as `YYYY-MM-DD`."""
    return (_EPOCH + timedelta(days=started_at // DAY_US)).isoformat()


def day_files(folder: Path) -> list[str]:
    """Return the names (`day=.../file`) of all text files, older ones too, in order."""
    return sorted(
        name_of(path)
        for path in folder.glob("day=*/*.parquet")
        if _DAY_FOLDER.fullmatch(path.parent.name)
        and (_TEXT_FILE.fullmatch(path.name) or _OLD_FILE.fullmatch(path.name))
    )


def is_old_form(name: str) -> bool:
    """Whether a file was written by a program before schema version 5."""
    return _OLD_FILE.fullmatch(name.rpartition("/")[2]) is not None


def name_of(path: Path) -> str:
    """Return a file's name in the registry."""
    return f"{path.parent.name}/{path.name}"


def next_name(folder: Path, day: str, taken: set[str]) -> str:
    """Return an unused name for a day's next file."""
    seen = {name.rpartition("/")[2] for name in taken if name.startswith(f"day={day}/")}
    seen |= {path.name for path in (folder / f"day={day}").glob("t*")}
    numbers = [int(name[1:].partition(".")[0]) for name in seen if name[1:7].isdigit()]
    return f"day={day}/t{max(numbers, default=0) + 1:06d}.parquet"


def quoted(path: Path | str) -> str:
    """Return a path or text as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"
