"""Threads of the control plane: work that blocks, away from its event loop."""

import logging
import threading
from collections.abc import Callable

from storage.errors import StorageError

log = logging.getLogger(__name__)


class WorkLoop:
    """Calls a function again and again in a thread, until stopped.

    Parameters
    ----------
    turn : callable
        Does a piece of work; returns the seconds to wait before the next.
    error_wait_s : float
        Wait after a turn that raised.
    """

    def __init__(self, name: str, turn: Callable[[], float], *, error_wait_s: float = 1.0) -> None:
        self._turn = turn
        self._error_wait_s = error_wait_s
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failures = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Do the next turn now."""
        self._awake.set()

    def stop(self, timeout_s: float) -> bool:
        """Let the turn under way end; False when it did not in time."""
        self._stopping.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self._turn()
            except StorageError as error:
                self.failures += 1
                wait_s = self._error_wait_s
                log.error("%s failed; trying again in %.0f s: %s", self._thread.name, wait_s, error)  # noqa: TRY400  (no fault of this program)
            except Exception:  # the scheduler loop: counted, logged, tried again
                self.failures += 1
                wait_s = self._error_wait_s
                log.exception("%s failed; trying again in %.0f s", self._thread.name, wait_s)
            self._awake.wait(wait_s)
            self._awake.clear()
