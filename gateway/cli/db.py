"""`monitor db`: the data directory: what it holds, and what can be done with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from typing import TypeVar

    from gateway.api.db_shapes import DbReport
    from gateway.cli.source import Server, Source
    from storage.database import Database
    from storage.lifecycle.backup import Backup
    from storage.lifecycle.compaction import Compaction
    from storage.lifecycle.forget import ForgetResult

    T = TypeVar("T")

_FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")


@click.group()
def db() -> None:
    """Look at the data directory; compact it, copy it, rebuild it, remove people from it.

    \b
    Examples:
      monitor db info
      monitor db compact
      monitor db backup /backups/driftgate-2026-11-21
      monitor db forget --user alice@example.com --yes

    A running server does the work itself; without one the directory is opened. To restore a
    backup, copy its folder and point `gateway.data_dir` at the copy.
    """


@db.command()
@_FORMAT
@source_options
def info(*, form: str, **more: Any) -> None:
    """Tables, files, bytes a record, lags, and what it will come to."""
    from gateway.cli.db_text import report_lines

    found, _ = read_report(_source(more))
    _print(found, form, report_lines(found))


@db.command()
@_FORMAT
@source_options
def compact(*, form: str, **more: Any) -> None:
    """Return the disk space of what was deleted; also while the server runs."""
    from gateway.cli.db_text import size_text
    from storage.lifecycle.compaction import Compaction

    source = _source(more)

    def here(database: "Database") -> "Compaction":
        from contextlib import nullcontext

        from storage.lifecycle.compaction import compact as compact_here

        return compact_here(database, now_us=source.clock.now_us(), pause=nullcontext)

    found = source.use(
        lambda server: _decode(server.post("/db/compact", {}), Compaction), here, writes=True
    )
    before, after = size_text(found.before_bytes), size_text(found.after_bytes)
    _print(found, form, [f"the database file had {before} and has {after}"])


@db.command()
@click.argument("target", type=click.Path(path_type=Path))
@_FORMAT
@source_options
def backup(target: Path, *, form: str, **more: Any) -> None:
    """Make a consistent copy of everything in the new folder TARGET, while the server runs."""
    import msgspec

    from gateway.cli.db_text import size_text
    from gateway.cli.exits import UnreachableError
    from storage.lifecycle.backup import Backup, take_backup

    target = target.absolute()
    if target.exists():
        raise click.UsageError(f"{target} exists; name a new folder")
    source = _source(more)

    def here(database: "Database") -> "Backup":
        from storage.lifecycle.backup import make_backup

        return make_backup(database, source.clock.now_us())

    made = source.use(
        lambda server: _decode(server.post("/db/backup", {}), Backup), here, writes=True
    )
    if not Path(made.folder).is_dir():
        raise UnreachableError(
            f"the server left the backup in {made.folder}, which is not on this machine; fetch it"
            " from there within an hour"
        )
    take_backup(Path(made.folder), target)
    made = msgspec.structs.replace(made, folder=str(target))
    text = f"{target}: {made.predictions} predictions, {size_text(made.bytes)}"
    _print(made, form, [text])


@db.command()
@_FORMAT
@source_options
def rebuild(*, form: str, **more: Any) -> None:
    """Make the database anew from archive and spool, also when its file is lost or damaged.

    The old file stays beside the new one; remove it when nobody needs it.
    """
    from storage.errors import DatabaseUnreadable
    from storage.lifecycle.cycle import Rebuild

    source = _source(more)

    def here() -> Rebuild:
        from gateway.lifecycle import rebuild_here

        return rebuild_here(source.data_dir, source.clock.now_us)

    try:
        # Only to see that no server holds it: the rebuild opens the file itself.
        url = source.use(lambda server: server.url, lambda _: None)
    except DatabaseUnreadable:
        url = None
    if url is None:
        found = here()
    else:
        found = source.use(
            lambda server: _decode(server.post("/db/rebuild", {}), Rebuild), lambda _: here()
        )
    told = f"{found.predictions} predictions came from the archive; the spool has what is newer"
    lines = [told, f"the old file is {found.set_aside}"]
    _print(found, form, [*lines, *(f"skipped, damaged: {name}" for name in found.damaged)])


@db.command()
@click.option("--user", "users", multiple=True, help="A user's key as clients send it, or hashed.")
@click.option("--id", "ids", multiple=True, type=click.UUID, help="A prediction.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_FORMAT
@source_options
def forget(
    users: tuple[str, ...], ids: tuple[object, ...], *, yes: bool, form: str, **more: Any
) -> None:
    """Remove all that is known of users or predictions; nothing brings it back.

    Rows go from the database, the text files, the archive and the spool. Counts stay: they hold
    nobody. Backups that were made before are not touched.
    """
    from gateway.cli.db_text import forget_lines
    from storage.lifecycle.forget import ForgetResult

    if not users and not ids:
        raise click.UsageError("name --user KEY or --id ID, or several of them")
    if not yes:
        click.confirm(f"Remove all of {len(users)} users and {len(ids)} ids for good?", abort=True)
    source = _source(more)

    def here(database: "Database") -> "ForgetResult":
        from gateway.lifecycle import open_lifecycle
        from gateway.user_keys import stored_user_keys
        from storage.lifecycle.forget import ForgetRequest

        keys = [key for user in users for key in stored_user_keys(source.settings, user)]
        lifecycle = open_lifecycle(database, source.clock.now_us)
        return lifecycle.forget(ForgetRequest(tuple(keys), tuple(map(str, ids))))

    body = {"users": list(users), "ids": [str(one) for one in ids]}
    found = source.use(
        lambda server: _decode(server.post("/db/forget", body), ForgetResult), here, writes=True
    )
    _print(found, form, forget_lines(found))


def read_report(source: "Source") -> "tuple[DbReport, str | None]":
    """Return sizes and forecast, and the URL of the server that gave them; None is the directory.

    Raises
    ------
    UnreachableError, StorageError
    """
    from gateway.api.db_shapes import DbReport

    def ask(server: "Server") -> "tuple[DbReport, str | None]":
        return _decode(server.get("/db", {}), DbReport), server.url

    def read(database: "Database") -> "tuple[DbReport, str | None]":
        from gateway.paths import spool_dir
        from storage.lifecycle.outlook import outlook
        from storage.lifecycle.sizes import database_info

        now_us = source.clock.now_us()
        found = database_info(database, spool_dir(source.data_dir), now_us)
        forecast = outlook(database, found, source.settings.record.retention, now_us)
        return DbReport(found, forecast), None

    return source.use(ask, read)


def _source(more: dict[str, Any]) -> "Source":
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock

    data_dir: Path | None = more["data_dir"]
    return Source.find(SourceOptions(more["config"], data_dir, more["server"]), SystemClock())


def _decode(text: bytes, type_: "type[T]") -> "T":
    import msgspec

    from gateway.cli.source import ServerGone

    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError as error:
        raise ServerGone(f"its answer cannot be read: {error}") from error


def _print(found: Any, form: str, lines: "list[str]") -> None:
    if form == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for line in lines:
        click.echo(line)
