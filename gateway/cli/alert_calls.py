"""What the commands of `monitor alerts` share: where they ask, and how answers are read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.exits import UnreachableError
from gateway.cli.source import ServerGone, Source, SourceOptions
from router.clock import SystemClock

if TYPE_CHECKING:
    from gateway.cli.source import Server
    from storage.database import Database


def find_source(more: dict[str, Any]) -> Source:
    """Return what the options of `source_options` name."""
    data_dir: Path | None = more["data_dir"]
    return Source.find(SourceOptions(more["config"], data_dir, more["server"]), SystemClock())


def asked(source: Source, call: "Callable[[Server], bytes]") -> dict[str, Any]:
    """Ask the server that runs: only it sends.

    Raises
    ------
    UnreachableError
        None runs.
    """

    def read(_: "Database") -> dict[str, Any]:
        raise UnreachableError(
            f"no server runs on {source.data_dir}; start `monitor serve`, or say --server URL"
        )

    return source.use(lambda server: decoded(call(server)), read)


def decoded(body: bytes) -> dict[str, Any]:
    """Return an answer's document.

    Raises
    ------
    ServerGone
        It is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ServerGone(f"its answer cannot be read: {error}") from error


def as_json(found: dict[str, Any]) -> str:
    """Return a document as text for people and programs."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
