"""An answer that came through `httpx2`, behind `router.upstream.UpstreamResponse`."""

import re
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, cast

import httpx2

from router.errors import Reason, UpstreamFault
from router.pumping import ReadPump
from router.tasks import TaskSet
from router.upstream import Duplex, Headers

try:
    from h2.exceptions import H2Error
except ImportError:  # Without `driftgate[http2]` nobody raises it.
    H2Error = httpx2.RemoteProtocolError  # type: ignore[misc, assignment] # stands for it

ERRORS = (httpx2.HTTPError, H2Error, OSError, ValueError)
"""What comes out of `httpx2`: for a status that is no number, and in the middle of a body over
HTTP/2, also what its libraries raised."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(rb"[\r\n\0]")

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
        One of `ERRORS`.
    name : str
        What messages call the upstream.
    sent : bool
        Bytes of the request may have left.
    """
    text = str(error) or type(error).__name__
    if isinstance(error, httpx2.LocalProtocolError) and not _is_of_h2(error):
        message = f"the request for upstream `{name}` cannot be sent: {text}"
        return UpstreamFault(message, reason=Reason.INVALID_REQUEST, sent=sent)
    framing = isinstance(error, (httpx2.ProtocolError, H2Error, ValueError))
    if framing and not any(word in text for word in _CUTS):
        message = f"upstream `{name}` does not speak HTTP: {text}"
        return UpstreamFault(message, reason=Reason.UPSTREAM_INVALID, sent=sent)
    return UpstreamFault(
        f"upstream `{name}`: {text}",
        reason=Reason.UPSTREAM_UNREACHABLE,
        sent=sent,
        connect_phase=not sent,
    )


def _is_of_h2(error: httpx2.LocalProtocolError) -> bool:
    """Say whether it stands for frames of the upstream that are not HTTP/2."""
    cause = error.__cause__
    return cause is not None and any(isinstance(arg, H2Error) for arg in cause.args)


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

    def check_fields(self) -> None:
        """Refuse fields that could not be sent on: over HTTP/2 nobody has looked at them.

        Raises
        ------
        UpstreamFault
            UPSTREAM_INVALID; the answer is released.
        """
        for name, value in self.headers:
            if _NAME.fullmatch(name) is None or _CONTROL.search(value) is not None:
                self.release()
                raise UpstreamFault(
                    f"upstream `{self._owner.name}` does not speak HTTP: its answer has the field "
                    f"{name[:40]!r} with what a field cannot hold",
                    reason=Reason.UPSTREAM_INVALID,
                    status=self.status,
                )

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
        except ERRORS as error:
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
