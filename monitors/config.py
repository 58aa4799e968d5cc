"""Configuration of monitors: section `monitors`."""

from typing import Literal

from pydantic import Field

from monitors.embeddings.config import EmbeddingConfig
from monitors.performance.config import PerformanceConfig
from monitors.quality.config import ContractConfig, QualityConfig
from monitors.references.config import BaselineConfig, DependenceConfig
from monitors.sections import Frozen
from monitors.slo.config import SloConfig
from monitors.spend.config import SpendConfig
from router.durations import DurationSeconds


class MaterialConfig(Frozen):
    """Effect sizes below which evidence alone raises nothing."""

    psi: float = Field(0.02, gt=0)  # lower end of the 95 % interval of PSI
    wasserstein_sd: float = Field(0.1, gt=0)  # W1 over the reference's standard deviation
    share: float = Field(0.01, gt=0, le=1)  # change of a category's share, or of missing rows
    new_share: float = Field(0.002, gt=0, le=1)  # rows with a category the baseline never had
    critical_psi: float = Field(0.25, gt=0)  # from here on an alert is critical


class FeatureConfig(ContractConfig):
    """What differs for one signal."""

    enabled: bool = True  # false: not compared
    psi: float | None = Field(None, gt=0)  # in place of `material.psi`; moves `critical_psi` along
    wasserstein_sd: float | None = Field(None, gt=0)  # in place of the one in `material`
    discrete: bool | None = None  # each value of a number has its cell; null: its values decide


SegmentKey = Literal["variant", "model", "version", "tenant", "tag", "language"]


class MonitorsConfig(Frozen):
    """What is compared, how often, and how many false alarms are acceptable."""

    enabled: bool = True  # false: nothing is compared, open alerts are closed
    false_alarms_per_30d: float = Field(1.0, gt=0)  # per route, all features and looks together
    every: DurationSeconds = 300.0  # time between looks
    window: DurationSeconds = 3600.0  # current window of a look
    min_samples: int = Field(50, ge=10)  # fewer rows in either window: not enough data
    clear_after: int = Field(3, ge=1)  # looks below half the material level that resolve an alert
    material: MaterialConfig = MaterialConfig()
    segments: tuple[SegmentKey, ...] = ("variant",)  # values of these keys are watched apart
    features: dict[str, FeatureConfig] = Field({})  # overrides by signal name
    slos: dict[str, SloConfig] = Field({})  # `errors`, 0.99 of any route, is one unless off
    quality: QualityConfig = QualityConfig()
    spend: SpendConfig = SpendConfig()
    performance: PerformanceConfig = PerformanceConfig()
    embeddings: dict[str, EmbeddingConfig] = Field({})  # by route: whose texts are embedded
    baseline: BaselineConfig | None = BaselineConfig()  # null: set by hand alone
    dependence: DependenceConfig | None = None  # rows that are not independent of each other
