"""What can go wrong while monitoring.

MonitorError
├── NoBaseline        nothing to compare with: none was set, or not under that name
├── BaselineInvalid   a stored baseline cannot be read, or its window holds too little
├── AddressRefused    a receiver's URL is none, or leads where notifications must not go
├── SecretInvalid     a webhook's secret is not one
└── SilenceRefused    a silence names nothing that can be matched, or no time
"""


class MonitorError(Exception):
    """Base of this folder's errors."""


class NoBaseline(MonitorError):
    """There is no baseline to compare with."""


class BaselineInvalid(MonitorError):
    """A baseline cannot be built or read."""


class AddressRefused(MonitorError, ValueError):
    """A receiver's address is refused."""


class SecretInvalid(MonitorError, ValueError):
    """A webhook's secret cannot sign."""


class SilenceRefused(MonitorError, ValueError):
    """A silence is refused."""
