"""Label values: names of the configuration and closed words; everything else is `other`."""

from gateway.aggregates import OTHER
from gateway.config import Settings
from router.errors import Reason

NONE = "none"

_REASONS = frozenset(reason.value for reason in Reason)
_STATUS_CLASSES = {hundred: f"{hundred}xx" for hundred in range(1, 6)}


class Names:
    """The names of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self.routes = frozenset(settings.routes)
        self.upstreams = frozenset(settings.upstreams)

    def route(self, name: str) -> str:
        """Return a route's label value."""
        return name if name in self.routes else OTHER

    def upstream(self, name: str) -> str:
        """Return an upstream's label value; the empty name is nobody."""
        if name in self.upstreams:
            return name
        return OTHER if name else NONE


def reason_label(reason: str | None) -> str:
    """Return the label value of a reason; None is success."""
    if reason is None:
        return NONE
    return reason if reason in _REASONS else OTHER


def status_class(status: int) -> str:
    """Return `2xx` and so on, `none` where nothing was answered."""
    return _STATUS_CLASSES.get(status // 100, NONE)
