"""Where a command's answers come from: the running control plane, or the bare database file.

DuckDB lets one process hold the file, so the server is asked while one runs; the file is opened
when none does.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click
import msgspec

from gateway.cli.exits import NotEnoughDataError, UnreachableError
from gateway.config_source import Source as ConfigSource
from gateway.config_source import current_source
from gateway.paths import control_file
from monitors.options import DEFAULTS, MonitorOptions
from router.clock import Clock
from storage.errors import DatabaseLocked

if TYPE_CHECKING:
    from gateway.cli.http import Answer
    from gateway.config import Settings
    from storage.database import Database

T = TypeVar("T")
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 300.0  # a report over tens of millions of rows is minutes of work
_API = "/api/v1"


class ServerGone(Exception):
    """No control plane answers at that address."""


class NoSuchThing(click.UsageError):
    """The server knows none of that name or id."""


class _Detail(msgspec.Struct):
    message: str
    type: str
    code: str | None = None


class _Refusal(msgspec.Struct):
    error: _Detail


class _Address(msgspec.Struct):
    """What a running control plane leaves in its data directory."""

    url: str
    pid: int


class _Health(msgspec.Struct):
    """What its `/healthz` says."""

    pid: int


class Gateway(NamedTuple):
    """What the configuration says of the control plane: defaults as in `gateway.config`."""

    data_dir: str = "./driftgate-data"
    control: str = "127.0.0.1:8081"
    key: str | None = None


DEFAULT_GATEWAY = Gateway()


class SourceOptions(NamedTuple):
    """What the user said of it; None is not given."""

    config: str | None = None
    data_dir: Path | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A control plane, by its base URL."""

    url: str
    key: str | None

    def get(self, path: str, params: Mapping[str, object]) -> bytes:
        """Return the body of the answer; parameters that are None are left out."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, object]) -> bytes:
        """Send JSON, return the body of the answer."""
        return self._ask("POST", path, json=dict(body))

    def delete(self, path: str, params: Mapping[str, object]) -> bytes:
        """Return the body of the answer."""
        return self._ask("DELETE", path, params=params)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        json: dict[str, object] | None = None,
    ) -> bytes:
        from gateway.cli.http import Call, NoAnswer, TooSlow, send

        call = Call(method, self.url + _API + path, params, json, self.key)
        try:
            answer = send(call, connect_s=CONNECT_TIMEOUT_S, answer_s=ANSWER_TIMEOUT_S)
        except TooSlow as error:
            raise UnreachableError(
                f"{self.url} did not answer within {ANSWER_TIMEOUT_S:.0f} s; ask for less"
            ) from error
        except NoAnswer as error:
            raise ServerGone(f"{self.url}: {error}") from error
        if 200 <= answer.status < 300:
            return answer.body
        raise self.refusal(answer)

    def refusal(self, answer: "Answer") -> Exception:
        """Return what an answer that is an error is for the command line."""
        try:
            detail = msgspec.json.decode(answer.body, type=_Refusal).error
        except msgspec.MsgspecError:
            return ServerGone(f"{self.url} is no control plane: it answers {answer.status}")
        if answer.status == 404:
            return NoSuchThing(detail.message)
        if answer.status == 422:
            return click.UsageError(detail.message)
        if answer.status == 409:
            return NotEnoughDataError(detail.message)
        if answer.status == 401:
            return UnreachableError(
                f"{self.url}: {detail.message}; name the server's configuration with --config"
            )
        return UnreachableError(f"{self.url}: {detail.message}")


class Source:
    """One data directory, and the server that may hold it."""

    def __init__(
        self,
        options: SourceOptions,
        clock: Clock,
        settings: "Settings | None",
        found: ConfigSource,
    ) -> None:
        self._settings = settings
        self._found = found
        self.clock = clock
        gateway = DEFAULT_GATEWAY if settings is None else _gateway_of(settings)
        self._key = gateway.key
        self.data_dir = (options.data_dir or Path(gateway.data_dir)).absolute()
        self._server = options.server
        # With a directory of its own choice, the configured address may be another one's.
        self._configured = None if options.data_dir else f"http://{gateway.control}"

    @classmethod
    def find(cls, options: SourceOptions, clock: Clock) -> "Source":
        """Read the configuration file, if there is one.

        Raises
        ------
        ConfigError
        """
        found = current_source(options.config)
        return cls(options, clock, None if found.path is None else _load(found), found)

    @property
    def settings(self) -> "Settings":
        """The whole configuration; without a file, that of the environment."""
        if self._settings is None:
            self._settings = _load(self._found)
        return self._settings

    @property
    def monitors(self) -> MonitorOptions:
        """The section `monitors`, which the environment does not change."""
        return DEFAULTS if self._settings is None else self._settings.monitors

    def use(
        self,
        ask: Callable[[Server], T],
        read: Callable[["Database"], T],
        *,
        writes: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> T:
        """Call `ask` with the server that runs, or else `read` with the opened file.

        Parameters
        ----------
        meanwhile : callable
            Called while a file is being opened for reading, such as for an import.

        Raises
        ------
        UnreachableError
            The server that was named does not answer, or the file is held and none answers.
        StorageError
            The file cannot be opened.
        """
        if self._server is not None:
            try:
                return ask(self._at(self._server))
            except ServerGone as error:
                raise UnreachableError(f"the server cannot be reached: {error}") from error
        left = self._left_address()
        if left is not None:
            try:
                return ask(self._at(left))
            except ServerGone:
                pass  # Left behind by a server that was killed.
        try:
            return self._read(read, meanwhile, writes=writes)
        except DatabaseLocked as error:
            return self._ask_holder(ask, error)

    def _ask_holder(self, ask: Callable[[Server], T], locked: DatabaseLocked) -> T:
        if self._configured is not None:
            try:
                return ask(self._at(self._configured))
            except ServerGone:
                pass
        raise UnreachableError(
            f"{locked}; no control plane answers for {self.data_dir}, name it with --server"
        ) from locked

    def _read(
        self, read: Callable[["Database"], T], meanwhile: Callable[[], object], *, writes: bool
    ) -> T:
        from storage.ahead import open_meanwhile
        from storage.database import FILE_NAME, Database
        from storage.lock import WriterLock

        with ExitStack() as stack:
            # Opening for writing would make a database of a folder that is only misspelt.
            if writes and (self.data_dir / FILE_NAME).is_file():
                lock = WriterLock(self.data_dir)
                lock.acquire()
                stack.callback(lock.release)
                database = Database.open(self.data_dir, now_us=self.clock.now_us)
            else:
                database = open_meanwhile(self.data_dir, meanwhile)
            stack.callback(database.close)
            return read(database)

    def _left_address(self) -> str | None:
        """Return where the server of this directory answers, if it does.

        A killed server leaves its file behind, and another one may have its port by now; one that
        is starting, or failing to, takes connections and answers none.
        """
        try:
            left = msgspec.json.decode(control_file(self.data_dir).read_bytes(), type=_Address)
        except (OSError, msgspec.MsgspecError):
            return None
        from gateway.cli.http import Call, NoAnswer, send

        try:
            health = send(
                Call("GET", f"{left.url}/healthz"),
                connect_s=CONNECT_TIMEOUT_S,
                answer_s=CONNECT_TIMEOUT_S,
            ).body
            return left.url if msgspec.json.decode(health, type=_Health).pid == left.pid else None
        except (NoAnswer, msgspec.MsgspecError):
            return None

    def _at(self, url: str) -> Server:
        full = url if "://" in url else f"http://{url}"
        return Server(full.rstrip("/"), self._key)


def _load(found: ConfigSource) -> "Settings":
    from gateway.settings import load_settings

    return load_settings(found, os.environ)


def _gateway_of(settings: "Settings") -> Gateway:
    key = settings.gateway.admin_key
    return Gateway(
        settings.gateway.data_dir,
        settings.gateway.control,
        key.get_secret_value() if key else None,
    )
