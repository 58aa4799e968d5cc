"""The same calls twice: straight to the spec-shaped upstream, and through a worker before it."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from pydantic import BaseModel
from support.spec_upstream import KEY, SpecUpstream
from support.spec_wire import SpecAnswer, SpecRequest
from support.spool_rows import SpoolRows
from support.worker import RunningWorker

from storage.records import End

CLIENT_KEY = "sk-of-a-client"
CONFIG = """
upstreams:
  spec: {{url: "{url}/v1"{key}}}
  claude: {{url: "{url}/anthropic/v1", protocol: anthropic{key}}}
routes:
  named: {{split: {{spec: 1.0}}, retry: {{attempts: 1}}}}
  claude-named: {{split: {{claude: 1.0}}, retry: {{attempts: 1}}}}
  "*": {{split: {{{rest}: 1.0}}, retry: {{attempts: 1}}}}
engine: {{enabled: false}}
"""
_KEYS = 'gateway: {{keys: [{{name: c, tenant: someone, sha256: "{digest}"}}]}}'
_NAMES = frozenset(
    {"content-type", "content-disposition", "retry-after", "x-request-id", "request-id"}
)
_PREFIXES = ("openai-", "anthropic-", "x-ratelimit-")


class Head(NamedTuple):
    """Status and end-to-end header fields of an answer, in order."""

    status: int
    fields: tuple[tuple[str, str], ...]


@dataclass
class Side:
    """One way to the upstream, the key shown there, and the heads of all that came that way."""

    url: str
    key: str = KEY
    heads: list[Head] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)

    def note(self, response: httpx2.Response) -> None:
        """Keep the head of an answer."""
        fields = [(name.lower(), value) for name, value in response.headers.multi_items()]
        kept = [one for one in fields if one[0] in _NAMES or one[0].startswith(_PREFIXES)]
        self.heads.append(Head(response.status_code, tuple(kept)))
        self.foreign.update(name for name, _ in fields)

    async def note_later(self, response: httpx2.Response) -> None:
        """Do the same for a client that awaits."""
        self.note(response)

    def http(self) -> httpx2.Client:
        """Return a client that official clients take as their own."""
        return httpx2.Client(event_hooks={"response": [self.note]}, timeout=30, trust_env=False)

    def async_http(self) -> httpx2.AsyncClient:
        """Return one for clients that await."""
        hooks = {"response": [self.note_later]}
        return httpx2.AsyncClient(event_hooks=hooks, timeout=30, trust_env=False)


@dataclass
class Sides:
    """Both ways, and what was seen between and behind them."""

    upstream: SpecUpstream
    direct: Side
    gateway: Side
    spool: SpoolRows
    earlier_rows: int = 0

    def begin(self) -> None:
        """Begin a test: nothing has been asked, seen, kept upstream or recorded."""
        self.upstream.begin()
        self.direct = Side(self.direct.url, self.direct.key)
        self.gateway = Side(self.gateway.url, self.gateway.key)
        self.earlier_rows = len(self.spool.read())

    def asked(self) -> list[tuple[SpecRequest, SpecAnswer]]:
        """Return what the upstream was asked through the gateway, and answered."""
        return self.upstream.exchanges[len(self.direct.heads) :]

    def rows(self, count: int, timeout_s: float = 3.0) -> list[End]:
        """Return the rows of this test, once there are so many; a surplus shows as well."""
        deadline_s = time.monotonic() + timeout_s
        while len(rows := self._rows()) < count and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return rows

    def _rows(self) -> list[End]:
        return self.spool.read()[self.earlier_rows :]


def configuration(url: str, *, rest: str = "spec", keyed: bool = False) -> str:
    """Return a configuration before the upstream at an address; options as in `both_sides`."""
    key = f', api_key: "{KEY}"' if keyed else ""
    config = CONFIG.format(url=url, rest=rest, key=key)
    if keyed:
        config += _KEYS.format(digest=hashlib.sha256(CLIENT_KEY.encode()).hexdigest())
    return config


@contextmanager
def both_sides(data_dir: Path, *, rest: str = "spec", keyed: bool = False) -> Iterator[Sides]:
    """Run the upstream and a worker before it.

    `rest` answers what no route names. `keyed`: clients have keys of the gateway's, and the
    gateway has the upstream's; without, the client's key goes all the way.
    """
    with SpecUpstream() as upstream:
        config = configuration(upstream.url, rest=rest, keyed=keyed)
        with RunningWorker(data_dir, config) as worker:
            through = Side(worker.url, CLIENT_KEY if keyed else KEY)
            yield Sides(upstream, Side(upstream.url), through, SpoolRows(data_dir / "spool"))


def plain(value: Any) -> Any:
    """Return what a client gave as values that compare by content."""
    if isinstance(value, BaseModel):
        return {"": type(value).__name__, **value.model_dump(mode="json", warnings=False)}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    assert value is None or isinstance(value, str | int | float | bytes), type(value)
    return value


def failure(error: Exception) -> dict[str, Any]:
    """Return what a client can tell of an error that was raised."""
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
        "body": getattr(error, "body", None),
    }
