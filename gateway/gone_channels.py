"""Channels whose receiver answered 410 Gone: they get nothing more, over restarts too.

One comes back when its entry in `alerts` changes, or by a replay or a test that it takes.
"""

import asyncio
from collections.abc import Mapping

from monitors.alerts.channels import entry_digest
from monitors.alerts.config import ChannelConfig
from storage.channel_state import load_gone, save_gone
from storage.repository import Repository

GONE = (
    "it answered 410 earlier and gets nothing more; change its entry, replay or test to try again"
)


def gone_since(repository: Repository) -> dict[str, int]:
    """Return the channels that are switched off, and since when, in microseconds."""
    return {_name(key): since_us for key, since_us in _load(repository).items()}


class GoneChannels:
    """What is switched off, in step with the database; all methods run on one event loop."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._since: dict[str, int] = {}
        self._is_loaded = self._is_saved = False
        self._turns = asyncio.Lock()

    def __contains__(self, named: tuple[str, ChannelConfig]) -> bool:
        return _key(*named) in self._since

    def add(self, name: str, channel: ChannelConfig, now_us: int) -> None:
        """Switch a channel off."""
        self._since.setdefault(_key(name, channel), now_us)
        self._is_saved = False

    def discard(self, name: str) -> None:
        """Switch a channel on, if it is off."""
        kept = {key: at for key, at in self._since.items() if _name(key) != name}
        self._is_saved = self._is_saved and len(kept) == len(self._since)
        self._since = kept

    async def load(self, channels: Mapping[str, ChannelConfig]) -> None:
        """Read what was switched off before this process, once; forget what is no channel now."""
        async with self._turns:
            if self._is_loaded:
                return
            found = await asyncio.to_thread(_load, self._repository)
            self._since = found | self._since
            self._is_loaded, self._is_saved = True, self._since == found
            self.keep(channels)

    def keep(self, channels: Mapping[str, ChannelConfig]) -> None:
        """Forget what is no channel any more, or is written otherwise."""
        current = {_key(*named) for named in channels.items()}
        kept = {key: at for key, at in self._since.items() if key in current}
        self._is_saved = self._is_saved and len(kept) == len(self._since)
        self._since = kept

    async def save(self) -> None:
        """Write what changed since it was read or written."""
        async with self._turns:
            if not self._is_loaded or self._is_saved:
                return
            self._is_saved = True
            try:
                await asyncio.to_thread(_save, self._repository, dict(self._since))
            except BaseException:
                self._is_saved = False
                raise


def _load(repository: Repository) -> dict[str, int]:
    with repository.reading() as connection:
        return load_gone(connection)


def _save(repository: Repository, since: Mapping[str, int]) -> None:
    with repository.writing() as connection:
        save_gone(connection, since)


def _key(name: str, channel: ChannelConfig) -> str:
    return f"{name}/{entry_digest(channel)}"


def _name(key: str) -> str:
    return key.rpartition("/")[0]
