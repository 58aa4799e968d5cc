"""`monitor export`: a table of the log as Parquet, CSV or JSON Lines."""

import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from gateway.cli.exits import GOOD, UnreachableError
from gateway.cli.source_options import source_options

if TYPE_CHECKING:
    from gateway.cli.since import Interval
    from gateway.cli.source import Server, Source
    from storage.database import Database
    from storage.export import Format

_COPY_BYTES = 1_048_576


class _Wanted(NamedTuple):
    """What is exported: the server's parameters."""

    form: "Format"
    interval: "Interval"
    chosen: dict[str, Any]


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "jsonl"]),
    required=True,
    help="Parquet needs --output.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option(
    "--table",
    type=click.Choice(["predictions", "attempts", "features", "feedback", "payloads"]),
    default="predictions",
    show_default=True,
)
@click.option("--since", default="7d", show_default=True, help="`24h`, `1h30m`, ISO 8601, `today`.")
@click.option("--until", help="As --since; a date is its first instant.  [default: now]")
@click.option("--route", help="This route alone.")
@click.option("--where", metavar="SQL", help="A DuckDB condition over the table's columns.")
@click.option("--columns", metavar="NAMES", help="These alone, with commas between.")
@source_options
def export(
    *, form: "Format", output: Path | None, since: str, until: str | None, **more: Any
) -> int:
    """Write a table of the log to a file, or to stdout, in order of time.

    \b
    Examples:
      monitor export --format parquet --since 30d --output month.parquet
      monitor export --format jsonl --table payloads --since 1h | jq .request
      monitor export --format csv --columns started_at,route,latency_s --where "status >= 500"

    The file appears when it is whole. Times are UTC, ids are text; polars and pandas read the
    Parquet file as it is. Exit codes: 0 good, 2 usage or configuration, 4 storage or server
    unreachable.
    """
    from gateway.cli.endings import quiet_ending
    from gateway.cli.since import TimeRefused, parse_interval
    from gateway.cli.source import Source, SourceOptions
    from router.clock import SystemClock
    from storage.errors import QueryRefused

    if form == "parquet" and output is None:
        raise click.UsageError("a Parquet file cannot go to stdout; name it with --output")
    clock = SystemClock()
    try:
        interval = parse_interval(since, until, clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"monitor: {interval}", err=True)
    source = Source.find(SourceOptions(more["config"], more["data_dir"], more["server"]), clock)
    chosen = {name: more[name] for name in ("table", "route", "where", "columns")}
    wanted = _Wanted(form, interval, chosen)
    try:
        if output is None:
            with quiet_ending():
                _fetch(source, wanted, sys.stdout.buffer)
        else:
            _write(source, wanted, output)
    except QueryRefused as error:
        raise click.UsageError(str(error)) from error
    return GOOD


def _write(source: "Source", wanted: _Wanted, output: Path) -> None:
    try:
        with _appearing(output) as partial:
            if wanted.form == "parquet":
                _write_parquet(source, wanted, partial)
            else:
                with partial.open("wb") as file:
                    _fetch(source, wanted, file)
    except OSError as error:
        raise click.FileError(str(output), str(error)) from error


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """Give a name beside the output; the file takes its place when it is whole."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _fetch(source: "Source", wanted: _Wanted, target: IO[bytes]) -> None:
    def ask(server: "Server") -> None:
        from gateway.cli.streaming import streamed

        with streamed(server, "/export", _params(wanted)) as pieces:
            for piece in pieces:
                target.write(piece)

    def read(database: "Database") -> None:
        for part in _slices(database, wanted):
            with part.open("rb") as file:
                while piece := file.read(_COPY_BYTES):
                    target.write(piece)

    source.use(ask, read)
    target.flush()


def _write_parquet(source: "Source", wanted: _Wanted, target: Path) -> None:
    from storage.export import join_parquet

    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".monitor-export-") as folder:

        def ask(server: "Server") -> list[Path]:
            from gateway.cli.streaming import streamed

            with streamed(server, "/export", _params(wanted)) as pieces:
                return _unpacked(pieces, Path(folder))

        def read(database: "Database") -> list[Path]:
            parts = []
            for part in _slices(database, wanted, Path(folder)):
                # The slice is removed when the next one is asked for.
                parts.append(Path(folder) / part.name)
                part.rename(parts[-1])
            return parts

        join_parquet(source.use(ask, read), target)


def _slices(database: "Database", wanted: _Wanted, folder: Path | None = None) -> Iterator[Path]:
    from gateway.api.log_query import parse_columns
    from storage.export import Export, ExportQuery
    from storage.reader import Window

    # A bare directory may be one that cannot be written.
    parent = Path(tempfile.gettempdir()) if folder is None else folder
    query = ExportQuery(
        wanted.chosen["table"],
        Window(*wanted.interval),
        wanted.form,
        wanted.chosen["route"],
        wanted.chosen["where"],
        parse_columns(wanted.chosen["columns"]),
    )
    made = Export(database.cursor, query, folder=parent)
    try:
        made.prepare()
        while (part := made.next_slice()) is not None:
            yield part
    finally:
        made.close()


def _params(wanted: _Wanted) -> Mapping[str, object]:
    return {
        "format": wanted.form,
        "since_us": wanted.interval.from_us,
        "until_us": wanted.interval.to_us,
        **wanted.chosen,
    }


class _Pieces:
    """A stream's pieces as the file that `tarfile` reads."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = bytearray()

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        while len(self._left) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._left += piece
        found = bytes(self._left[:size])
        del self._left[:size]
        return found


def _unpacked(pieces: Iterator[bytes], folder: Path) -> list[Path]:
    parts: list[Path] = []
    try:
        # The stub asks for more of a file than a stream's reader uses.
        with tarfile.open(fileobj=_Pieces(pieces), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                # The names are ours, whatever the other side calls them.
                parts.append(folder / f"{len(parts):06d}.parquet")
                _copy(archive.extractfile(member), parts[-1])
    except tarfile.TarError as error:
        raise UnreachableError(f"the server's answer is no export: {error}") from error
    return parts


def _copy(found: IO[bytes] | None, target: Path) -> None:
    if found is None:
        raise UnreachableError("the server's answer is no export: it holds what is no file")
    with target.open("wb") as file:
        while piece := found.read(_COPY_BYTES):
            file.write(piece)
