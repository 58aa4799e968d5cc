"""Accepts connections: all that wait, within bounds, each time the event loop comes round."""

import asyncio
import errno
import socket
from collections.abc import Callable

from router.tasks import TaskSet

BACKLOG = 4_096
"""Connections that the kernel is asked to keep; it caps that at `net.core.somaxconn`."""

ACCEPTS_A_TURN = 128
"""Connections taken from one listening socket in one turn of the loop."""

PAUSE_S = 1.0
"""How long nothing is accepted once the process has no file descriptor or memory for it."""

_SPENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Accepts on one listening socket.

    uvloop accepts one connection a turn. A turn is as long as there is much to do, so that under
    overload new clients would wait for minutes beside those that are served.

    Parameters
    ----------
    listening : socket.socket
        Bound; closed with this.
    make : callable
        Makes the protocol of a connection.
    tasks : TaskSet
        Gets a task a connection, done when its protocol has it.
    """

    __slots__ = ("_listening", "_loop", "_make", "_tasks", "_timer")

    def __init__(
        self, listening: socket.socket, make: Callable[[], asyncio.Protocol], tasks: TaskSet
    ) -> None:
        self._listening = listening
        self._make = make
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        """Accept no more, and close our end of the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted, _ = self._listening.accept()
            except OSError as error:
                if error.errno in _SPENT:
                    self._loop.remove_reader(self._listening)
                    self._timer = self._loop.call_later(PAUSE_S, self._resume)
                # Else none waits any more, or one that did is gone: the loop calls again.
                return
            accepted.setblocking(False)
            self._tasks.start(self._adopt(accepted))

    async def _adopt(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, accepted)
        except (OSError, RuntimeError):
            # It was lost, or refused, before it was ready.
            accepted.close()
