"""`GET /v1/models`: the names a request may use, of the routes and of what upstreams list.

Upstreams are asked only for the route `*`, the one that passes names on. Those of its `split` that
give every request a model of their own (`upstreams.NAME.model`) are listed under that name; those
that stand in for others (`fallback`) are never asked, since a name that only they know would be
refused by the upstream before them.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec

from gateway.config import Settings
from gateway.credentials import shown_key, takes_client_keys, with_own_fields
from gateway.errors import ModelNotFound
from gateway.exchange import Exchange
from gateway.model_entries import Entry, entries_of, own_entry, page_of
from router.clock import Clock
from router.config import UpstreamConfig
from router.errors import UpstreamFault
from router.plan import REST
from router.tasks import TaskSet
from router.upstream import Headers, Upstream, UpstreamRequest

PATH = "/v1/models"
ASK_TIMEOUT_S = 2.0
FRESH_S = 60.0
FRESH_AFTER_FAILURE_S = 5.0
ANSWER_BYTES = 1_048_576
MAX_LISTS = 64
"""Lists kept for clients with keys of their own, the least recently used dropped."""

FindUpstream = Callable[[str], Upstream | None]


@dataclass(slots=True)
class _List:
    """The entries for one kind of client.

    Attributes
    ----------
    until_s : float
        `Clock.monotonic` value up to which they need not be asked for again.
    refresh : asyncio.Task or None
        Under way.
    pages : dict of bool to bytes
        The entries as a body, in Anthropic's shape or not.
    """

    entries: dict[str, Entry] | None = None
    until_s: float = 0.0
    refresh: asyncio.Task[None] | None = None
    pages: dict[bool, bytes] = field(default_factory=dict)

    def page(self, *, anthropic: bool) -> bytes:
        """Return the whole list, written once."""
        page = self.pages.get(anthropic)
        if page is None:
            page = msgspec.json.encode(page_of(self.entries or {}, anthropic=anthropic))
            self.pages[anthropic] = page
        return page


def is_model_path(path: str) -> bool:
    """Say whether a path is the list or one of its entries."""
    return path.startswith(PATH) and path[len(PATH) : len(PATH) + 1] in {"", "/"}


def model_id_of(path: str) -> str | None:
    """Return the name in `/v1/models/NAME`, percent-decoded; it may hold slashes. None is none."""
    if not path.startswith(PATH + "/"):
        return None
    try:
        return unquote(path[len(PATH) + 1 :], errors="strict") or None
    except UnicodeDecodeError:
        return None


class ModelList:
    """Asks upstreams what they list, together within two seconds, and keeps it for a minute.

    After that the old list is given while a new one is asked for. An upstream that fails is left
    out, and all are asked again sooner.

    Parameters
    ----------
    find_upstream : callable
        Gives the client of an upstream by its name; None when it is not there now.
    clock : Clock
    tasks : TaskSet
        Runs what is asked, so that a client that leaves does not end it for others.
    """

    def __init__(self, find_upstream: FindUpstream, clock: Clock, tasks: TaskSet) -> None:
        self._find = find_upstream
        self._clock = clock
        self._tasks = tasks
        self._settings: Settings | None = None
        self._created_s = 0
        self._lists: OrderedDict[bytes, _List] = OrderedDict()

    async def answer(self, exchange: Exchange, settings: Settings, *, keyless: bool) -> bytes:
        """Return the body that answers `GET /v1/models` or `GET /v1/models/NAME`.

        Parameters
        ----------
        exchange : Exchange
            A client that sends `anthropic-version` gets Anthropic's shape.
        settings : Settings
            Of the snapshot; the lists of another one are dropped.
        keyless : bool
            The gateway asks for no keys, so the client's is for upstreams without one.

        Raises
        ------
        ModelNotFound
            No such name is listed.
        """
        anthropic = exchange.header(b"anthropic-version") is not None
        token = shown_key(exchange) if keyless else b""
        if exchange.path == PATH:
            return await self.body(settings, token=token, anthropic=anthropic)
        model_id = model_id_of(exchange.path)
        found = None
        if model_id is not None:
            found = await self.one(settings, model_id, token=token, anthropic=anthropic)
        if found is None:
            raise ModelNotFound(
                f"The model `{model_id or ''}` does not exist; `GET {PATH}` lists those that do.",
                param="model",
            )
        return found

    async def body(
        self, settings: Settings, *, token: bytes = b"", anthropic: bool = False
    ) -> bytes:
        """Return the whole list.

        Parameters
        ----------
        settings : Settings
        token : bytes
            The client's key, if upstreams without one of their own may see it.
        anthropic : bool
            In Anthropic's shape in place of OpenAI's.
        """
        return (await self._list(settings, token)).page(anthropic=anthropic)

    async def one(
        self, settings: Settings, model_id: str, *, token: bytes = b"", anthropic: bool = False
    ) -> bytes | None:
        """Return one entry; None when no such name is listed. Parameters as of `body`."""
        entry = ((await self._list(settings, token)).entries or {}).get(model_id)
        return msgspec.json.encode(entry.shown(anthropic=anthropic)) if entry else None

    async def _list(self, settings: Settings, token: bytes) -> _List:
        if settings is not self._settings:
            self._settings = settings
            self._created_s = self._clock.now_us() // 1_000_000
            self._lists.clear()
        asked = _asked(settings)
        if not any(takes_client_keys(config) for config in asked):
            token = b""
        found = self._kept(token)
        if self._clock.monotonic() >= found.until_s and found.refresh is None:
            refresh = self._refresh(found, settings, asked, token)
            found.refresh = self._tasks.start(refresh)
        if found.entries is None and found.refresh is not None:
            await asyncio.wait([found.refresh])
        return found

    def _kept(self, token: bytes) -> _List:
        # The key itself is not kept.
        key = hashlib.sha256(token).digest()
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = _List()
            if len(self._lists) > MAX_LISTS:
                self._lists.popitem(last=False)
        self._lists.move_to_end(key)
        return found

    async def _refresh(
        self, found: _List, settings: Settings, asked: list[UpstreamConfig], token: bytes
    ) -> None:
        try:
            answers = await asyncio.gather(*(self._ask(one, token) for one in asked))
            listed = {
                config.name: entries
                for config, entries in zip(asked, answers, strict=True)
                if entries is not None
            }
            found.entries = _merge(settings, listed, self._created_s)
            found.pages.clear()
            fresh_s = FRESH_S if len(listed) == len(asked) else FRESH_AFTER_FAILURE_S
            found.until_s = self._clock.monotonic() + fresh_s
        finally:
            found.refresh = None

    async def _ask(self, config: UpstreamConfig, token: bytes) -> list[Entry] | None:
        """Return what an upstream lists; None when it does not say so in time and form."""
        upstream = self._find(config.name)
        if upstream is None:
            return []
        target = b"/models?limit=1000" if config.protocol == "anthropic" else b"/models"
        request = UpstreamRequest(b"GET", target, _headers(config, token))
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                body = await _fetch(upstream, request)
        except (UpstreamFault, TimeoutError):
            return None
        return entries_of(body) if body is not None else None


async def _fetch(upstream: Upstream, request: UpstreamRequest) -> bytes | None:
    """Return the body of a 200 that is not too long."""
    response = await upstream.send(request, connect_timeout_s=ASK_TIMEOUT_S)
    try:
        body = bytearray()
        while chunk := await response.read():
            body += chunk
            if len(body) > ANSWER_BYTES:
                return None
    finally:
        response.release()
    return bytes(body) if response.status == 200 else None


def _headers(config: UpstreamConfig, token: bytes) -> Headers:
    """Return the fields that an upstream gets with every request."""
    headers: Headers = [(b"Accept", b"application/json")]
    if token and takes_client_keys(config):
        if config.protocol == "anthropic":
            headers.append((b"x-api-key", token))
        else:
            headers.append((b"Authorization", b"Bearer " + token))
    return with_own_fields(headers, config)


def _asked(settings: Settings) -> list[UpstreamConfig]:
    """Return the upstreams that may answer a name without a route."""
    rest = settings.routes.get(REST)
    if rest is None:
        return []
    return [settings.upstreams[name] for name, share in rest.split.items() if share > 0]


def _merge(settings: Settings, listed: dict[str, list[Entry]], created_s: int) -> dict[str, Entry]:
    """Return the routes, then what each upstream adds; the first of a name is kept."""
    merged = {name: own_entry(name, created_s) for name in settings.routes if name != REST}
    for config in _asked(settings):
        entries = listed.get(config.name, [])
        if config.model is not None:
            known = {entry.id: entry for entry in entries}
            entries = [known.get(config.model) or own_entry(config.model, created_s)]
        for entry in entries:
            merged.setdefault(entry.id, entry)
    return merged
