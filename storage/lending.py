"""Who uses the connections to the database, and how everybody is made to stand still."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from storage.errors import DatabaseFailed

USERS_WAIT_S = 30.0
_INTERRUPTED_EVERY_S = 0.5


class Lending:
    """The cursors that are lent now; safe between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = threading.Condition()
        self._cursors: dict[duckdb.DuckDBPyConnection, int] = {}
        self._stopping = threading.Lock()
        self._stopped = False

    @property
    def users(self) -> int:
        """Cursors that are lent now."""
        with self._state:
            return len(self._cursors)

    def unless_stopped(self, look: Callable[[], str | None]) -> str | None:
        """Return what `look` returns; None while nothing is lent."""
        with self._state:
            return None if self._stopped else look()

    def lend(self, make: Callable[[], duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
        """Note and return what `make` returns, when it may be lent.

        A thread that has one gets another at once: who stops waits for the first one anyway, and
        would wait for it in vain.

        Raises
        ------
        DatabaseFailed
            Nothing is lent for longer than 30 s.
        """
        own = threading.get_ident()
        with self._state:
            if not self._state.wait_for(
                lambda: not self._stopped or own in self._cursors.values(), USERS_WAIT_S
            ):
                raise DatabaseFailed(
                    f"{self._path}: somebody has had the log alone for {USERS_WAIT_S:.0f} s;"
                    " try again"
                )
            cursor = make()
            self._cursors[cursor] = own
            return cursor

    def give_back(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Close a cursor and forget it."""
        with suppress(duckdb.Error):
            cursor.close()
        with self._state:
            self._cursors.pop(cursor, None)
            self._state.notify_all()

    @contextmanager
    def all_returned(
        self, *, patience_s: float, besides: Collection[duckdb.DuckDBPyConnection] = ()
    ) -> Iterator[None]:
        """Lend nothing, and wait for what is lent; after the patience, queries are interrupted.

        Raises
        ------
        DatabaseFailed
            A query does not stop within 30 s.
        """
        with self._stop(patience_s, besides, interrupts=True) as idle:
            if not idle:
                raise DatabaseFailed(f"{self._path}: a query did not stop in {USERS_WAIT_S:.0f} s")
            yield

    @contextmanager
    def lull(
        self, *, patience_s: float, besides: Collection[duckdb.DuckDBPyConnection] = ()
    ) -> Iterator[bool]:
        """Lend nothing while nothing is lent; False where somebody's query outlasts the patience.

        Whoever asks for a cursor waits no longer than the patience, then for the caller's block.
        """
        with self._stop(patience_s, besides, interrupts=False) as idle:
            if idle:
                yield True
                return
        yield False

    @contextmanager
    def _stop(
        self,
        patience_s: float,
        besides: Collection[duckdb.DuckDBPyConnection],
        *,
        interrupts: bool,
    ) -> Iterator[bool]:
        # One that keeps a cursor itself may be waited for by the other one who stops.
        if not self._stopping.acquire(timeout=patience_s if besides else USERS_WAIT_S):
            yield False
            return
        try:
            with self._state:
                self._stopped = True
                idle = self._wait(patience_s, besides)
                if not idle and interrupts:
                    idle = self._interrupt(besides)
            yield idle
        finally:
            with self._state:
                self._stopped = False
                self._state.notify_all()
            self._stopping.release()

    def _interrupt(self, besides: Collection[duckdb.DuckDBPyConnection]) -> bool:
        for _ in range(round(USERS_WAIT_S / _INTERRUPTED_EVERY_S)):
            # Again and again: between two queries there is nothing to interrupt.
            for cursor in self._others(besides):
                # It may be closed, and about to be forgotten.
                with suppress(duckdb.Error):
                    cursor.interrupt()
            if self._wait(_INTERRUPTED_EVERY_S, besides):
                return True
        return False

    def _wait(self, time_s: float, besides: Collection[duckdb.DuckDBPyConnection]) -> bool:
        return self._state.wait_for(lambda: not self._others(besides), time_s)

    def _others(
        self, besides: Collection[duckdb.DuckDBPyConnection]
    ) -> set[duckdb.DuckDBPyConnection]:
        return set(self._cursors).difference(besides)
