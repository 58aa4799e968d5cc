"""What monitoring is told, without the library that checks it: its import takes 0.2 CPU s.

`monitors.config.MonitorsConfig` is the checked form from a configuration file, `DEFAULTS` what
holds without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitors.embeddings.options import EmbeddingOptions
from monitors.performance.options import PERFORMANCE_DEFAULTS, PerformanceOptions
from monitors.quality.options import QUALITY_DEFAULTS, ContractOptions, QualityOptions
from monitors.references.options import AUTOMATIC, BaselineOptions, DependenceOptions
from monitors.slo.options import SloOptions
from monitors.spend.options import SPEND_DEFAULTS, SpendOptions


class MaterialOptions(Protocol):
    """Effect sizes below which evidence alone raises nothing."""

    @property
    def psi(self) -> float:
        """Lower end of the interval of PSI."""
        ...

    @property
    def wasserstein_sd(self) -> float:
        """Wasserstein-1 over the reference's standard deviation."""
        ...

    @property
    def share(self) -> float:
        """Change of the share of a category, or of missing rows, 0..1."""
        ...

    @property
    def new_share(self) -> float:
        """Share of rows whose category the reference never had, 0..1."""
        ...

    @property
    def critical_psi(self) -> float:
        """From here on an alert is critical."""
        ...


class FeatureOptions(ContractOptions, Protocol):
    """What differs for one signal."""

    @property
    def enabled(self) -> bool:
        """Whether it is compared."""
        ...

    @property
    def psi(self) -> float | None:
        """In place of `material.psi`."""
        ...

    @property
    def wasserstein_sd(self) -> float | None:
        """In place of `material.wasserstein_sd`."""
        ...

    @property
    def discrete(self) -> bool | None:
        """Whether each value of a number has a cell to itself; None: its values decide."""
        ...


class MonitorOptions(Protocol):
    """What is compared, how often, and how many false alarms are acceptable."""

    @property
    def enabled(self) -> bool:
        """Whether anything is compared."""
        ...

    @property
    def false_alarms_per_30d(self) -> float:
        """Budget of a route, all features and looks together."""
        ...

    @property
    def every(self) -> float:
        """Seconds between looks."""
        ...

    @property
    def window(self) -> float:
        """Seconds of a look's window."""
        ...

    @property
    def min_samples(self) -> int:
        """Least rows of either window."""
        ...

    @property
    def clear_after(self) -> int:
        """Calm looks in a row that resolve an alert."""
        ...

    @property
    def material(self) -> MaterialOptions:
        """Effect sizes that matter."""
        ...

    @property
    def segments(self) -> Sequence[str]:
        """Keys whose values are watched apart: `variant`, `model`, `version`, ..."""
        ...

    @property
    def features(self) -> Mapping[str, FeatureOptions]:
        """Overrides by signal name."""
        ...

    @property
    def slos(self) -> Mapping[str, SloOptions]:
        """Objectives by name, beside those of `monitors.slo.options.DEFAULT_SLOS`."""
        ...

    @property
    def quality(self) -> QualityOptions:
        """What is watched of data quality."""
        ...

    @property
    def spend(self) -> SpendOptions:
        """Caps, and hours against earlier days."""
        ...

    @property
    def performance(self) -> PerformanceOptions:
        """What is watched of labels and scores."""
        ...

    @property
    def embeddings(self) -> Mapping[str, EmbeddingOptions]:
        """Whose texts are embedded, by route."""
        ...

    @property
    def baseline(self) -> BaselineOptions | None:
        """Where baselines come from; None: they are set by hand alone."""
        ...

    @property
    def dependence(self) -> DependenceOptions | None:
        """Which rows depend on each other."""
        ...


@dataclass(frozen=True, slots=True)
class Material:
    """Defaults of `monitors.material`."""

    psi: float = 0.02
    wasserstein_sd: float = 0.1
    share: float = 0.01
    new_share: float = 0.002
    critical_psi: float = 0.25


@dataclass(frozen=True, slots=True)
class Monitors:
    """Defaults of `monitors`."""

    enabled: bool = True
    false_alarms_per_30d: float = 1.0
    every: float = 300.0
    window: float = 3600.0
    min_samples: int = 50
    clear_after: int = 3
    material: MaterialOptions = Material()
    segments: Sequence[str] = ("variant",)
    features: Mapping[str, FeatureOptions] = field(default_factory=dict)
    slos: Mapping[str, SloOptions] = field(default_factory=dict)
    quality: QualityOptions = QUALITY_DEFAULTS
    spend: SpendOptions = SPEND_DEFAULTS
    performance: PerformanceOptions = PERFORMANCE_DEFAULTS
    embeddings: Mapping[str, EmbeddingOptions] = field(default_factory=dict)
    baseline: BaselineOptions | None = AUTOMATIC
    dependence: DependenceOptions | None = None


DEFAULTS = Monitors()
"""What holds where no configuration file says otherwise."""
