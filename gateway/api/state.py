"""What the API's handlers ask of the control plane."""

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.config import Settings
from gateway.ingest_progress import IngestProgress
from monitors.schedule import MonitorRun
from router.clock import Clock
from storage.repository import Repository


class ApiState(Protocol):
    """`gateway.control_plane.ControlState`, as far as it is used; values follow reloads."""

    @property
    def settings(self) -> Settings:
        """Configuration in force."""
        ...

    @property
    def clock(self) -> Clock:
        """Where the time comes from."""
        ...

    @property
    def repository(self) -> Repository:
        """The prediction log."""
        ...

    @property
    def monitor(self) -> MonitorRun:
        """The monitor that runs."""
        ...

    @property
    def loops(self) -> Mapping[str, Any]:
        """Working threads by name (`gateway.loops.WorkLoop`)."""
        ...

    @property
    def ingest(self) -> IngestProgress:
        """Whether the database keeps up with the spool."""
        ...
