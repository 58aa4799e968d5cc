"""An answer that came through `httpx2`, behind `router.upstream.UpstreamResponse`."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, cast

import httpx2

from router.errors import Reason, UpstreamFault
from router.pumping import ReadPump
from router.tasks import TaskSet
from router.upstream import Duplex, Headers

# How httpx2's libraries word a connection that ends too early; anything else is bad framing.
_CUTS = ("disconnected", "closed", "StreamReset", "ConnectionTerminated")


class Owner(Protocol):
    """Who is told that a request is over."""

    name: str

    def finished(self) -> None:
        """Take note that a request is over."""


def fault_of(error: Exception, name: str, *, sent: bool) -> UpstreamFault:
    """Return what an error of `httpx2` means for an attempt.

    Parameters
    ----------
    error : Exception
        `httpx2.HTTPError` or `OSError`.
    name : str
        What messages call the upstream.
    sent : bool
        Bytes of the request may have left.
    """
    text = str(error) or type(error).__name__
    if isinstance(error, httpx2.LocalProtocolError):
        message = f"the request for upstream `{name}` cannot be sent: {text}"
        return UpstreamFault(message, reason=Reason.INVALID_REQUEST, sent=sent)
    framing = isinstance(error, httpx2.RemoteProtocolError)
    if framing and not any(word in text for word in _CUTS):
        message = f"upstream `{name}` does not speak HTTP: {text}"
        return UpstreamFault(message, reason=Reason.UPSTREAM_INVALID, sent=sent)
    return UpstreamFault(
        f"upstream `{name}`: {text}",
        reason=Reason.UPSTREAM_UNREACHABLE,
        sent=sent,
        connect_phase=not sent,
    )


class HttpxResponse:
    """One answer, for one reader."""

    __slots__ = (
        "_owner",
        "_parts",
        "_pump",
        "_released",
        "_stream",
        "_tasks",
        "headers",
        "status",
    )

    def __init__(self, response: httpx2.Response, owner: Owner, tasks: TaskSet) -> None:
        self.status = response.status_code
        self.headers: Headers = list(response.headers.raw)
        self._owner = owner
        self._tasks = tasks
        # The transport's streams are asynchronous ones, and generators underneath.
        self._stream = cast("httpx2.AsyncByteStream", response.stream)
        self._parts = cast("AsyncGenerator[bytes, None]", aiter(self._stream))
        self._pump = ReadPump(self.read)
        self._released = False

    async def read(self) -> bytes:
        """Return the next bytes of the body, b"" at its end.

        Raises
        ------
        UpstreamFault
            UPSTREAM_UNREACHABLE for a cut, UPSTREAM_INVALID for bad framing.
        """
        try:
            async for part in self._parts:
                if part:
                    return part
        except (httpx2.HTTPError, OSError) as error:
            fault = fault_of(error, self._owner.name, sent=True)
            fault.status = self.status
            raise fault from error
        return b""

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Hand every chunk to a sink until the body ends; see `UpstreamResponse`."""
        await self._pump.pump(sink)

    def resume(self) -> None:
        """Go on after a sink asked for a pause."""
        self._pump.resume()

    def stop(self, fault: BaseException | None = None) -> None:
        """End a running pump."""
        self._pump.stop(fault)

    def tunnel(self) -> Duplex:
        """Refuse: upgrades are not asked for here."""
        raise UpstreamFault(
            "the upstream did not change the protocol",
            reason=Reason.UPSTREAM_INVALID,
            status=self.status,
        )

    def release(self) -> None:
        """End the exchange: the connection is kept if the body was read to its end. Idempotent."""
        if not self._released:
            self._released = True
            self._tasks.start(self._close())

    async def _close(self) -> None:
        try:
            await self._parts.aclose()
            await self._stream.aclose()
        finally:
            self._owner.finished()
