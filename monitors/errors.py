"""What can go wrong while monitoring.

MonitorError
├── NoBaseline        nothing to compare with: none was set, or not under that name
└── BaselineInvalid   a stored baseline cannot be read, or its window holds too little
"""


class MonitorError(Exception):
    """Base of this folder's errors."""


class NoBaseline(MonitorError):
    """There is no baseline to compare with."""


class BaselineInvalid(MonitorError):
    """A baseline cannot be built or read."""
