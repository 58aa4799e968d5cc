"""What `GET /db` answers; without FastAPI, as the command line reads it too."""

import msgspec

from storage.lifecycle.forecast import Forecast
from storage.lifecycle.sizes import DatabaseInfo


class DbReport(msgspec.Struct, frozen=True):
    """What a data directory holds, and what it will come to."""

    info: DatabaseInfo
    forecast: Forecast
    version: int = 1
