"""Ends streams of HTTP/2 that nobody reads to their end: `httpx2` itself only forgets them.

An upstream that is not told goes on generating. What it sends is never acknowledged and uses up
the flow-control window that all requests of a connection share: after 16 MiB nothing arrives on it
any more. `httpx2` has no public way to its connections, so the attributes below are its private
ones; without them a stream is forgotten as before.
"""

from collections.abc import Callable
from typing import Any

import httpcore2
import httpx2

CANCEL = 8  # RFC 9113, section 7: the stream is no longer needed


async def reset_stream(
    transport: httpx2.AsyncHTTPTransport, trace: Callable[..., Any], stream_id: int
) -> None:
    """Acknowledge what nobody will read of a stream, and tell the upstream that it is given up.

    Parameters
    ----------
    transport : httpx2.AsyncHTTPTransport
    trace : callable
        The request's extension of that name, by which it is found.
    stream_id : int
    """
    pool = getattr(transport, "_pool", None)
    for entry in getattr(pool, "_requests", ()):
        if entry.request.extensions.get("trace") == trace:
            connection = _h2_connection(entry.connection)
            if connection is not None and connection.is_available():
                await _reset(connection, entry.request, stream_id)
            return


async def _reset(connection: Any, request: object, stream_id: int) -> None:
    state, events = connection._h2_state, connection._events.get(stream_id, ())  # noqa: SLF001
    unread_bytes = sum(getattr(event, "flow_controlled_length", None) or 0 for event in events)
    stream = state.streams.get(stream_id)
    if unread_bytes:
        state.acknowledge_received_data(unread_bytes, stream_id)
    if stream is not None and not stream.closed:
        state.reset_stream(stream_id, CANCEL)
    elif not unread_bytes:
        return
    try:
        await connection._write_outgoing_data(request)  # noqa: SLF001
    except (httpcore2.NetworkError, httpcore2.TimeoutException, OSError):
        # The connection is gone, and the stream with it.
        return


def _h2_connection(connection: Any) -> Any:
    """Return what speaks HTTP/2 below a connection of the pool and its tunnels, None for none."""
    while connection is not None and not hasattr(connection, "_h2_state"):
        connection = getattr(connection, "_connection", None)
    return connection
