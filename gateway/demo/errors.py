"""What can go wrong in the demo.

GatewayError
├── DemoFailed     a step of the show did not happen
└── Interrupted    a signal ended the show
"""

from gateway.errors import GatewayError


class DemoFailed(GatewayError):
    """A step of the show did not happen; the message says which and why."""


class Interrupted(GatewayError):
    """A signal ended the show."""
