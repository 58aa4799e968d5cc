"""The lock that makes one process the writer of a data directory."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from storage.errors import DatabaseLocked

FILE_NAME = "writer.lock"


class WriterLock:
    """Held from `acquire` to `release`, and given back by the kernel when the process dies."""

    def __init__(self, data_dir: Path, name: str = FILE_NAME) -> None:
        self.path = data_dir / name
        self._fd: int | None = None

    def acquire(self) -> None:
        """Become the writer, at once or not at all.

        Raises
        ------
        DatabaseLocked
            Another process is the writer; the message names it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise DatabaseLocked(
                f"{self.path.parent} is written by another server (process {holder});"
                " stop it, or give this one its own `gateway.data_dir`"
            ) from error
        self._fd = fd
        with suppress(OSError):  # The number only helps the message; a full disk is no obstacle.
            os.ftruncate(fd, os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0))

    def release(self) -> None:
        """Stop being the writer; releasing twice is allowed."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
