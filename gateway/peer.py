"""What a connection asks and tells the socket below its transport."""

import asyncio
import socket
import struct
from collections.abc import Callable

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the client's address, "" for Unix sockets."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def reset_connection(transport: asyncio.Transport) -> None:
    """Close with a reset, which no client takes for the end of an answer."""
    peer: socket.socket = transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def watch_half_close(
    transport: asyncio.Transport, *, waiting: Callable[[], bool], gone: Callable[[], None]
) -> None:
    """Send a client that ended its input an interim response, and call `gone` if it is reset.

    A FIN looks the same for both; only data that nobody takes is answered by a reset. The
    transport reads no more after the end of input, so the reset is looked for: after 50 ms, then
    at twice the interval up to half a second, for as long as `waiting` says so.
    """
    transport.write(_INTERIM)
    loop = asyncio.get_running_loop()
    peer: socket.socket = transport.get_extra_info("socket")

    def look(wait_s: float) -> None:
        if not waiting():
            return
        if peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            gone()
        else:
            wait_s = min(2 * wait_s, 0.5)
            loop.call_later(wait_s, look, wait_s)

    loop.call_later(0.05, look, 0.05)
