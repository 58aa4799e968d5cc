"""The text of one prediction: from its day file, or from the spool while it is not in one yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from storage.frames import FrameKind, FrameUndecodable, decode_end
from storage.records import Payload
from storage.segments import SUFFIX, read_frames
from storage.text.layout import FOLDER, is_old_form
from storage.text.registry import load_marks
from storage.times import to_timestamp

# A file may be rewritten between its name's and its own reading; a damaged one stays unreadable
# until the archive has set it aside.
_TRIES = 2
_SPOOL_FOLDER = "spool"
_FIELDS = ("request", "response", "request_truncated", "response_truncated", "response_type")


def text_of(
    connection: duckdb.DuckDBPyConnection, data_dir: Path, found: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the text of a prediction; None if it has none, or it is kept no longer.

    Parameters
    ----------
    found : mapping
        Of its row of `predictions`: id, started_at (microseconds since the epoch), source,
        segment, byte_offset, has_payload.

    Returns
    -------
    dict or None
        request, response, request_truncated, response_truncated, response_type.
    """
    if found.get("has_payload") is False:
        return None
    source = found.get("source")
    if source is not None:
        mark = load_marks(connection).get(source)
        if mark is None or (found["segment"], found["byte_offset"]) >= mark.place:
            text = _from_spool(data_dir / _SPOOL_FOLDER, found)
            if text is not None:
                return text
    # A file may have been written, or merged and removed, since the mark was read.
    return _from_files(connection, found) or _from_staged(connection, found)


def _from_spool(spool_dir: Path, found: Mapping[str, Any]) -> dict[str, Any] | None:
    path = spool_dir / f"{found['source']}-{found['segment']:06d}{SUFFIX}"
    try:
        frames = read_frames(path, found["byte_offset"], limit_bytes=1).frames
        if not frames or frames[0].kind != FrameKind.END:
            return None
        end = decode_end(frames[0].payload)
    except (OSError, FrameUndecodable):  # Gone, or not readable for now.
        return None
    if end.prediction.id != found["id"] or end.payload is None:
        return None
    return _plain(end.payload)


def _plain(payload: Payload) -> dict[str, Any]:
    fields = msgspec.structs.asdict(payload)
    fields["request"] = payload.request.decode("utf-8", "replace")
    fields["response"] = payload.response.decode("utf-8", "replace")
    return fields


def _from_files(
    connection: duckdb.DuckDBPyConnection, found: Mapping[str, Any]
) -> dict[str, Any] | None:
    at = to_timestamp(found["started_at"])
    for _ in range(_TRIES):
        files = connection.execute(
            "SELECT file FROM payload_files WHERE state = 'live' AND first_at <= $1"
            " AND last_at >= $1 ORDER BY changed_at DESC",
            [at],
        ).fetchall()
        unreadable = 0
        for (file,) in files:
            try:
                rows = connection.execute(_select_from(file), [at, found["id"]]).fetchall()
            except (duckdb.IOException, duckdb.InvalidInputException):
                unreadable += 1
                continue
            if rows:
                return dict(zip(_FIELDS, rows[0], strict=True))
        if not unreadable:
            break
    return None


def _select_from(file: str) -> str:
    request = "request" if is_old_form(file) else "array_to_string(request_parts, '')"
    return (
        f"SELECT {request}, {', '.join(_FIELDS[1:])} FROM read_parquet('{FOLDER}/{file}')"  # noqa: S608 (names of this program)
        " WHERE started_at = ? AND id = ?::UUID"
    )


def _from_staged(
    connection: duckdb.DuckDBPyConnection, found: Mapping[str, Any]
) -> dict[str, Any] | None:
    rows = connection.execute(
        f"SELECT {', '.join(_FIELDS)} FROM payloads_recent WHERE id = ?::UUID",  # noqa: S608 (names of this file)
        [found["id"]],
    ).fetchall()
    return dict(zip(_FIELDS, rows[0], strict=True)) if rows else None
