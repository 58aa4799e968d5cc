"""What became of predictions, in a report; conventions as in `monitors.report.model`."""

from typing import Literal

import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """One metric of a route, or of one variant.

    Attributes
    ----------
    variant : str
        Empty is the whole route.
    metric : str
        `accuracy`; of numbers `absolute_error`, `bias` (prediction less label), `rmse`; `score`.
    low, high : float or None
        95 % interval; None where there are fewer than 20 rows, or none is known.
    n : int
        Predictions that know it.
    """

    variant: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


class ClassOutcome(msgspec.Struct, frozen=True):
    """One class, or one label where nothing was predicted.

    Attributes
    ----------
    n, predicted, correct : int
        Rows with this label, with this prediction, with both.
    share : float
        Of the labelled rows of the classes shown.
    precision, recall : float or None
        `correct / predicted`, `correct / n`, with 95 % intervals (Wilson); None without rows.
    """

    label: str
    n: int
    share: float
    predicted: int
    correct: int
    precision: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None


class ConfidenceBin(msgspec.Struct, frozen=True):
    """Rows of neighbouring confidence, and the share of them that came true."""

    label: str
    n: int
    confidence: float
    accuracy: float
    low: float
    high: float


class Calibration(msgspec.Struct, frozen=True):
    """Confidence beside what came true, of `n` labelled rows with a confidence.

    Attributes
    ----------
    ece : float
        Expected calibration error over bins of equal mass, 0..1.
    brier : float
        Mean square of confidence less outcome, of the predicted class alone, 0..1.
    log_loss : float
        Mean of minus the log of the confidence given to what came true, nats, of the predicted
        class against all others.
    """

    n: int
    ece: float
    brier: float
    log_loss: float
    bins: tuple[ConfidenceBin, ...]


class Estimated(msgspec.Struct, frozen=True):
    """Accuracy before labels come: the mean of calibrated confidence.

    Attributes
    ----------
    value, low, high : float
        Expected accuracy of the interval's predictions and its 95 % interval. It assumes that
        confidence means what it meant when it was calibrated: no concept drift.
    n : int
        Predictions with a confidence, labelled or not.
    labels : int
        Labelled predictions from before the interval that calibrated it.
    """

    value: float
    low: float
    high: float
    n: int
    labels: int


class Gap(msgspec.Struct, frozen=True):
    """The segment that does worst against the rest of its route.

    Attributes
    ----------
    segment : str
        `key=value`.
    value, value_rest : float
        The metric of the segment, and of all other rows.
    difference, low, high : float or None
        `value` less `value_rest`; the interval holds for all segments that were looked at, and at
        all looks together.
    n, n_rest : int
    segments : int
        Segments that were looked at.
    verdict : str
        `worse` where the whole interval is, else `no difference seen`.
    """

    segment: str
    metric: str
    value: float
    value_rest: float
    difference: float
    low: float
    high: float
    n: int
    n_rest: int
    segments: int
    verdict: Literal["worse", "no difference seen"]


class Performance(msgspec.Struct, frozen=True):
    """What became of the predictions of a route that began in the interval.

    Attributes
    ----------
    n : int
        Primary requests.
    told : int
        Predictions with any feedback, of whatever time; the newest label and score count.
    coverage : float or None
        `told / n`.
    delay_p50_s : float or None
        Median time until the first feedback, of those that have some.
    outcomes : tuple of Outcome
    classes : tuple of ClassOutcome
        The 50 with most rows.
    estimated : Estimated or None
        Only where earlier labels calibrate it, and predictions have a confidence.
    """

    route: str
    n: int
    told: int
    coverage: float | None
    delay_p50_s: float | None
    outcomes: tuple[Outcome, ...] = ()
    classes: tuple[ClassOutcome, ...] = ()
    calibration: Calibration | None = None
    estimated: Estimated | None = None
    gaps: tuple[Gap, ...] = ()
