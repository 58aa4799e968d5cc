"""Messages between the supervisor and its children: JSON lines over a socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec

_MAX_MESSAGE_BYTES = 16_777_216


class Channel:
    """One end of a socket pair; the other end's death is its end of file."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "Channel":
        """Take over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_MAX_MESSAGE_BYTES)
        return cls(reader, writer)

    def send(self, kind: str, **values: Any) -> None:
        """Send a message; to a peer that has gone it is dropped."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode({"kind": kind, **values}) + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield messages until the peer has gone."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            yield msgspec.json.decode(line)

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, None when the peer has gone."""
        async for message in self.messages():
            return message
        return None

    async def aclose(self) -> None:
        """Close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
