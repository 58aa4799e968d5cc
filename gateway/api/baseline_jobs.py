"""Setting, listing and showing baselines: what the server and the command line share."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.api.baseline_shapes import (
    BaselineDetail,
    BaselinesSet,
    BaselineSummary,
    FeatureSummary,
    Refused,
)
from monitors.baselines import Reference, choose_baseline, read_references
from monitors.errors import BaselineInvalid, MonitorError
from monitors.report.recent import rows_by_route, window_of_last
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.records import Baseline
from storage.repository import Repository

TOP_CATEGORIES = 5
_QUANTILES = (0.05, 0.5, 0.95)


class Wanted(NamedTuple):
    """A baseline to set.

    Attributes
    ----------
    route : str or None
        None is every route with traffic.
    window : Window
        The reference period; with `last`, only its end counts.
    least_rows : int
        `monitors.min_samples`: a smaller baseline would be compared with nothing, and would take
        the place of the one before it.
    last : int or None
        The newest rows of each route, instead of a period.
    """

    name: str
    route: str | None
    window: Window
    least_rows: int
    last: int | None = None


def set_baselines(
    monitor: MonitorRun, repository: Repository, wanted: Wanted, now_us: int
) -> BaselinesSet:
    """Save a new version for each route.

    Raises
    ------
    BaselineInvalid
        No route has enough rows.
    """
    routes = [wanted.route] if wanted.route else rows_by_route(repository, wanted.window)
    made: list[BaselineSummary] = []
    refused: list[Refused] = []
    for route in routes:
        try:
            window = _window(repository, route, wanted)
            made.append(summary_of(monitor.set_baseline(wanted.name, route, window, now_us)))
        except MonitorError as error:
            refused.append(Refused(route, str(error)))
    if not made:
        why = "; ".join(r.message for r in refused) or "there are no predictions in the interval"
        raise BaselineInvalid(why)
    return BaselinesSet(made, refused)


def _window(repository: Repository, route: str, wanted: Wanted) -> Window:
    if wanted.last is None:
        rows = rows_by_route(repository, wanted.window).get(route, 0)
        if rows < wanted.least_rows:
            raise BaselineInvalid(
                f"route `{route}` has {rows} rows in the period, too few for a baseline;"
                f" `monitors.min_samples` is {wanted.least_rows}, choose a longer period"
            )
        return wanted.window
    if wanted.last < wanted.least_rows:
        raise BaselineInvalid(
            f"{wanted.last} rows are too few for a baseline; `monitors.min_samples` is"
            f" {wanted.least_rows}, ask for more with `--last`"
        )
    window = window_of_last(repository, route, wanted.last, wanted.window.to_us)
    if window is None:
        raise BaselineInvalid(
            f"route `{route}` has fewer than {wanted.last} rows; ask for fewer with `--last`"
        )
    return window


def list_baselines(
    repository: Repository, route: str | None, name: str | None
) -> list[BaselineSummary]:
    """Return every version, oldest first."""
    found = repository.load_baselines(route)
    return [summary_of(baseline) for baseline in found if name in {None, baseline.name}]


def show_baseline(
    baselines: Sequence[Baseline], route: str, name: str, version: int | None
) -> BaselineDetail:
    """Return one baseline's features; without `version`, of the newest one.

    Raises
    ------
    NoBaseline, BaselineInvalid
        There is none, or it cannot be read.
    """
    chosen = choose_baseline(baselines, route, name, version)
    references = read_references(chosen)
    return BaselineDetail(summary_of(chosen), [_feature(r) for r in references.values()])


def summary_of(baseline: Baseline) -> BaselineSummary:
    """Return a baseline without its cells."""
    return BaselineSummary(
        name=baseline.name,
        version=baseline.version,
        route=baseline.route,
        rows=baseline.rows,
        window_from=baseline.window_from,
        window_to=baseline.window_to,
        created_at=baseline.created_at,
        features=sorted(baseline.cells),
    )


def _feature(reference: Reference) -> FeatureSummary:
    sample = reference.sample
    quantiles = [None if sample is None else sample.quantile(q) for q in _QUANTILES]
    counts = dict(zip(reference.cells.labels(), reference.counts.tolist(), strict=True))
    top = sorted(counts, key=lambda name: (-counts[name], name))[:TOP_CATEGORIES]
    shares = {name: counts[name] / reference.rows for name in top if counts[name]}
    return FeatureSummary(
        feature=reference.feature,
        kind=reference.kind,
        rows=reference.rows,
        missing=int(reference.counts[-1]),
        p05=quantiles[0],
        p50=quantiles[1],
        p95=quantiles[2],
        categories=shares if sample is None else {},
    )
