"""`monitor feedback`: what became of predictions, one by one or from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import GOOD, NOT_ENOUGH_DATA, USAGE
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli.source import Server, Source
    from gateway.feedback_rows import FeedbackBody, FeedbackTaken
    from storage.database import Database

CHUNK = 5_000
"""Rows that are sent, or written, at once."""
MOST_TOLD = 20
"""Rows with faults that are told one by one."""


@click.command()
@click.argument("prediction_id", required=False, metavar="[ID]")
@click.option("--score", type=float, help="On any scale, the same for all of a route.")
@click.option("--label", help="The true outcome, or a word such as `good`.")
@click.option("--comment", help="A note for people.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="CSV, JSON Lines, Parquet.")
@source_options
def feedback(*, prediction_id: str | None, path: Path | None, **asked: Any) -> int:
    """Tell what became of a prediction, or of those of a file.

    ID is the `x-driftgate-id` of the answer; clients may send POST /v1/feedback instead. A file
    has columns `id` (or `prediction_id`), `score`, `label`, `comment`. Everything is kept, the
    newest score and label of a prediction count; a prediction that is not in the log yet is joined
    once it is. Rows with faults are told and left out: exit code 2.

    \b
    Examples:
      monitor feedback 0190a1b2-... --score 0.8 --label good --comment "right answer"
      monitor feedback --file labels.csv
      monitor feedback --file labels.parquet --server http://gateway:8081
    """
    from gateway.feedback_rows import FeedbackBody, FeedbackInvalid, checked

    said = {name: asked[name] for name in ("score", "label", "comment")}
    if path is not None:
        if prediction_id is not None or any(value is not None for value in said.values()):
            raise click.UsageError("--file excludes ID, --score, --label and --comment")
        return _file(_source(asked), path)
    if prediction_id is None:
        raise click.UsageError("name a prediction by its `x-driftgate-id`, or a file with --file")
    try:
        found = checked(FeedbackBody(prediction_id, **said))
    except FeedbackInvalid as error:
        raise click.UsageError(str(error)) from error
    taken = _send(_source(asked), [found])
    if taken.forgotten:
        click.echo(f"monitor: prediction {found.id} was forgotten; nothing is kept", err=True)
        return NOT_ENOUGH_DATA
    later = "; the prediction is not in the log yet, it counts once it is" if taken.unknown else ""
    click.echo(f"{found.id}: written{later}")
    return GOOD


def _file(source: "Source", path: Path) -> int:
    from gateway.cli.feedback_file import BadRow, FileInvalid, feedback_rows
    from gateway.cli.waiting import telling

    good: list[FeedbackBody] = []
    bad: list[BadRow] = []
    try:
        with telling(f"reading {path.name}"):
            for row in feedback_rows(path):
                if isinstance(row, BadRow):
                    bad.append(row)
                else:
                    good.append(row)
    except FileInvalid as error:
        raise click.UsageError(f"{error}; nothing was written") from error
    for row in bad[:MOST_TOLD]:
        click.echo(f"monitor: line {row.line} is left out: {row.why}", err=True)
    if len(bad) > MOST_TOLD:
        click.echo(f"monitor: {len(bad) - MOST_TOLD} more rows are left out", err=True)
    if not good:
        raise click.UsageError(f"{path} has no row that can be taken; nothing was written")
    with telling(f"writing {len(good)} rows"):
        taken = _send(source, good)
    click.echo(
        f"{taken.rows} rows written; {taken.unknown} of them about predictions that are not in"
        f" the log (yet), {taken.forgotten} of forgotten ones and {len(bad)} with faults left out"
    )
    return USAGE if bad else GOOD


def _source(asked: dict[str, Any]) -> "Source":
    from gateway.cli.alert_calls import find_source

    return find_source(asked)


def _send(source: "Source", rows: "list[FeedbackBody]") -> "FeedbackTaken":
    import msgspec

    from gateway.cli.answers import decode
    from gateway.feedback_rows import FeedbackTaken, record_of

    parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]

    def ask(server: "Server") -> FeedbackTaken:
        return _together(
            decode(server.post("/feedback", {"feedback": msgspec.to_builtins(part)}), FeedbackTaken)
            for part in parts
        )

    def write(database: "Database") -> FeedbackTaken:
        from gateway.auth import NO_KEYS_TENANT
        from storage.repository import Repository

        now_us = source.clock.now_us()
        repository = Repository(database)
        given = [record_of(row, NO_KEYS_TENANT, now_us + n) for n, row in enumerate(rows)]
        return FeedbackTaken(*repository.add_feedback(given))

    return source.use(ask, write, writes=True)


def _together(parts: "Iterable[FeedbackTaken]") -> "FeedbackTaken":
    from gateway.feedback_rows import FeedbackTaken

    found = list(parts)
    return FeedbackTaken(
        sum(part.rows for part in found),
        sum(part.unknown for part in found),
        sum(part.forgotten for part in found),
    )
