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
import httpx2
import msgspec

from gateway.cli.exits import NotEnoughDataError, UnreachableError
from gateway.config import Settings
from gateway.paths import control_file
from gateway.settings import current_source, load_settings
from router.clock import Clock
from storage.errors import DatabaseLocked

if TYPE_CHECKING:
    from storage.database import Database

T = TypeVar("T")
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 300.0  # a report over tens of millions of rows is minutes of work
_API = "/api/v1"


class ServerGone(Exception):
    """No control plane answers at that address."""


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
        timeout = httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        query = {k: str(v) for k, v in (params or {}).items() if v is not None}
        url = self.url + _API + path
        try:
            # A proxy of the environment is for the internet, not for this machine's server.
            with httpx2.Client(timeout=timeout, trust_env=False) as client:
                answer = client.request(method, url, params=query, json=json, headers=headers)
        except httpx2.ReadTimeout as error:
            raise UnreachableError(
                f"{self.url} did not answer within {ANSWER_TIMEOUT_S:.0f} s; ask for less"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ServerGone(f"{self.url}: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer.content
        raise self._refusal(answer)

    def _refusal(self, answer: httpx2.Response) -> Exception:
        try:
            detail = msgspec.json.decode(answer.content, type=_Refusal).error
        except msgspec.MsgspecError:
            return ServerGone(f"{self.url} is no control plane: it answers {answer.status_code}")
        if answer.status_code in {404, 422}:
            return click.UsageError(detail.message)
        if answer.status_code == 409:
            return NotEnoughDataError(detail.message)
        if answer.status_code == 401:
            return UnreachableError(
                f"{self.url}: {detail.message}; name the server's configuration with --config"
            )
        return UnreachableError(f"{self.url}: {detail.message}")


class Source:
    """One data directory, and the server that may hold it."""

    def __init__(self, options: SourceOptions, clock: Clock, settings: Settings) -> None:
        self.settings = settings
        self.clock = clock
        self.data_dir = (options.data_dir or Path(settings.gateway.data_dir)).absolute()
        self._server = options.server
        # With a directory of its own choice, the configured address may be another one's.
        self._configured = None if options.data_dir else f"http://{settings.gateway.control}"

    @classmethod
    def find(cls, options: SourceOptions, clock: Clock) -> "Source":
        """Read the configuration.

        Raises
        ------
        ConfigError
        """
        return cls(options, clock, load_settings(current_source(options.config), os.environ))

    def use(
        self,
        ask: Callable[[Server], T],
        read: Callable[["Database"], T],
        *,
        writes: bool = False,
    ) -> T:
        """Call `ask` with the server that runs, or else `read` with the opened file.

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
            return self._read(read, writes=writes)
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

    def _read(self, read: Callable[["Database"], T], *, writes: bool) -> T:
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
                database = Database.open_read_only(self.data_dir)
            stack.callback(database.close)
            return read(database)

    def _left_address(self) -> str | None:
        """Return where the server of this directory answers, if it does.

        A killed server leaves its file behind, and another one may have its port by now; one that
        is starting, or failing to, takes connections and answers none.
        """
        try:
            left = msgspec.json.decode(control_file(self.data_dir).read_bytes(), type=_Address)
            with httpx2.Client(timeout=CONNECT_TIMEOUT_S, trust_env=False) as client:
                health = client.get(f"{left.url}/healthz").content
            return left.url if msgspec.json.decode(health, type=_Health).pid == left.pid else None
        except (OSError, msgspec.MsgspecError, httpx2.HTTPError, httpx2.InvalidURL):
            return None

    def _at(self, url: str) -> Server:
        key = self.settings.gateway.admin_key
        full = url if "://" in url else f"http://{url}"
        return Server(full.rstrip("/"), key.get_secret_value() if key else None)
