"""What a life cycle has done so far."""

import msgspec


class LifeCycleStatistics(msgspec.Struct, frozen=True):
    """Totals since the object was made.

    Attributes
    ----------
    retired_predictions, retired_text_bytes : int
        Removed by retention.
    forgotten_predictions, compactions, backups : int
        As named.
    """

    retired_predictions: int = 0
    retired_text_bytes: int = 0
    forgotten_predictions: int = 0
    compactions: int = 0
    backups: int = 0
