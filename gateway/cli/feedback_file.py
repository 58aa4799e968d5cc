"""Files of feedback: CSV, JSON Lines or Parquet, a row for each prediction, read as they come."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.feedback_rows import FeedbackBody, FeedbackInvalid, checked, word_of
from storage.parquet_rows import parquet_rows
from storage.training import TrainingInvalid

COLUMNS = ("id", "prediction_id", "score", "label", "comment")
_SAYING = frozenset({"score", "label", "comment"})
KINDS = (".csv", ".jsonl", ".ndjson", ".parquet", ".pq")
_MAX_CELL_CHARS = 1_000_000


class FileInvalid(ValueError):
    """A file of feedback cannot be read at all."""


class BadRow(NamedTuple):
    """A row that was left out; `line` counts from 1, of Parquet it is the row's number."""

    line: int
    why: str


def feedback_rows(path: Path) -> Iterator[FeedbackBody | BadRow]:
    """Yield the rows of a file in its order, checked.

    Columns are `id` (or `prediction_id`), `score`, `label` and `comment`; others are passed over.

    Raises
    ------
    FileInvalid
        It is absent, of another kind, broken from some line on, or has no ids.
    """
    if not path.is_file():
        raise FileInvalid(f"there is no file {path}")
    if path.suffix.lower() not in KINDS:
        raise FileInvalid(f"{path} is none of {', '.join(KINDS)}; save it as one of them")
    try:
        for line, row in _rows(path):
            try:
                yield _row(row) if isinstance(row, Mapping) else BadRow(line, row)
            except FeedbackInvalid as error:
                yield BadRow(line, str(error))
    except UnicodeDecodeError as error:
        raise FileInvalid(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from error
    except TrainingInvalid as error:
        raise FileInvalid(str(error)) from error


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    kind = path.suffix.lower()
    if kind == ".csv":
        return _csv_rows(path)
    if kind in {".parquet", ".pq"}:
        return _parquet_rows(path)
    return _json_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    # The mark that spreadsheets put in front is none of the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            names = [name.strip() for name in next(reader, [])]
            _check_names(path, names)
            for cells in reader:
                if len(cells) == len(names):
                    yield reader.line_num, dict(zip(names, cells, strict=True))
                elif cells:
                    wrong = f"it has {len(cells)} cells, the first line has {len(names)}"
                    yield reader.line_num, wrong
        except csv.Error as error:
            raise FileInvalid(f"{path}, line {reader.line_num}: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    for number, row in enumerate(parquet_rows(path, COLUMNS), start=1):
        if number == 1:
            _check_names(path, list(row))
        yield number, row


def _check_names(path: Path, names: list[str]) -> None:
    if not {"id", "prediction_id"} & set(names):
        raise FileInvalid(
            f"{path} has no column `id` or `prediction_id`: its first line must name the columns"
        )
    if not _SAYING & set(names):
        raise FileInvalid(
            f"{path} has none of the columns `score`, `label` and `comment`; give the one that"
            " says what became of a prediction one of these names"
        )


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield number, f"it is no JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "it is no JSON object"


def _row(row: Mapping[str, Any]) -> FeedbackBody:
    told = {name: value for name in COLUMNS if (value := _text(row.get(name))) is not None}
    number = told.get("id", told.get("prediction_id"))
    if number is None:
        raise FeedbackInvalid("it has no `id`.", "id")
    score = told.get("score")
    return checked(
        FeedbackBody(
            number,
            None if score is None else _score(score),
            told.get("label"),
            told.get("comment"),
        )
    )


def _text(value: object) -> str | None:
    """Return a cell's text; an empty one is none."""
    if isinstance(value, float):
        return word_of(value)
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() or None


def _score(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FeedbackInvalid(f"`score` is `{text[:64]}`; it must be a number.", "score") from None
