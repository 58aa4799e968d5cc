"""What `GET /db` answers; without FastAPI, as the command line reads it too."""

import msgspec

from storage.lifecycle.counters import LifeCycleStatistics
from storage.lifecycle.forecast import Forecast
from storage.lifecycle.sizes import DatabaseInfo


class DbReport(msgspec.Struct, frozen=True):
    """What a data directory holds, and what it will come to.

    Attributes
    ----------
    done : LifeCycleStatistics or None
        What the server has removed, compacted and copied since it started; None without one.
    """

    info: DatabaseInfo
    forecast: Forecast
    done: LifeCycleStatistics | None = None
    version: int = 1
