"""Setting, listing and showing baselines: what the server and the command line share."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from gateway.api.baseline_shapes import (
    BaselineDetail,
    BaselinesSet,
    BaselineSummary,
    BuiltAdded,
    FeatureSummary,
    Refused,
)
from monitors.baselines import INPUT, Reference, choose_baseline, read_references
from monitors.errors import BaselineInvalid, MonitorError
from monitors.options import MonitorOptions
from monitors.references.choosing import rolling_window
from monitors.references.making import DAY_US, Period, make
from monitors.references.stored import MOST_FEATURES, SEASON_US
from monitors.report.recent import rows_by_route, window_of_last
from monitors.signals.table import SIGNALS_BY_NAME
from monitors.windows import SECOND_US, Window
from storage import reference_reads as reads
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline
from storage.repository import Repository

TOP_CATEGORIES = 5
MOST_CELLS = 2_000
"""Cells of a feature; those that are made here have some hundreds at most."""
MOST_SEGMENTS = 200
"""Segments of a feature: six keys of twenty values and the others, and room."""
_QUANTILES = (0.05, 0.5, 0.95)
_EVER = ReadWindow(0, 1 << 52)


class Wanted(NamedTuple):
    """A baseline to set.

    Attributes
    ----------
    route : str or None
        None is every route with traffic.
    window : Window
        The reference period; with `last`, only its end counts, with `previous_s` nothing.
    last : int or None
        The newest rows of each route, instead of a period.
    previous_s : float or None
        So many seconds before midnight (UTC), made anew every day, instead of a period.
    variant : str or None
        Rows of this variant alone, with which every variant is compared.
    seasonal : bool
        Keep counts by hour of the week.
    """

    name: str
    route: str | None
    window: Window
    last: int | None = None
    previous_s: float | None = None
    variant: str | None = None
    seasonal: bool = False


def set_baselines(
    repository: Repository, config: MonitorOptions, wanted: Wanted, now_us: int
) -> BaselinesSet:
    """Save a new version for each route.

    Raises
    ------
    BaselineInvalid
        No route has enough rows, or the period is too short.
    """
    if wanted.previous_s is not None:
        length_us = round(wanted.previous_s * SECOND_US)
        if length_us < DAY_US:
            raise BaselineInvalid("`previous` must be a day or longer: it moves once a day")
        wanted = wanted._replace(window=rolling_window(length_us, now_us))
    if wanted.seasonal and wanted.last is None:
        _check_season(wanted.window)
    routes = [wanted.route] if wanted.route else rows_by_route(repository, wanted.window)
    made: list[BaselineSummary] = []
    refused: list[Refused] = []
    for route in routes:
        try:
            period = _period(repository, config, route, wanted)
            made.append(summary_of(make(repository, config, period, now_us)))
        except MonitorError as error:
            refused.append(Refused(route, str(error)))
    if not made:
        why = "; ".join(r.message for r in refused) or "there are no predictions in the interval"
        raise BaselineInvalid(why)
    return BaselinesSet(made, refused)


def add_built(repository: Repository, built: Baseline) -> BuiltAdded:
    """Save a baseline that was built of a file, as far as it fits the route's models.

    Inputs that no model of the route was ever asked with are left out, unless none is known yet.

    Raises
    ------
    BaselineInvalid
        Its cells cannot be read, or nothing of it fits.
    """
    if len(built.cells) > MOST_FEATURES:
        raise BaselineInvalid(
            f"{len(built.cells)} features are too many, a baseline has {MOST_FEATURES} at most"
        )
    if built.window_from > built.window_to:
        raise BaselineInvalid("`window_from` must not lie after `window_to`")
    references = read_references(built)
    for reference in references.values():
        _check_counts(reference)
    with repository.snapshot() as log:
        known = reads.inputs_of(log.connection, Scope(_EVER, route=built.route))
    left_out = {}
    for name, reference in references.items():
        why = _why_not(reference, known)
        if why is not None:
            left_out[name] = why
    kept = {name: cells for name, cells in built.cells.items() if name not in left_out}
    if not kept:
        why = "; ".join(f"`{name}`: {reason}" for name, reason in left_out.items())
        raise BaselineInvalid(f"nothing of it fits route `{built.route}` ({why or 'it is empty'})")
    saved = repository.add_baseline(msgspec.structs.replace(built, cells=kept))
    return BuiltAdded(summary_of(saved), left_out)


def _check_counts(reference: Reference) -> None:
    """Refuse what no reference can be: every row that comes in is counted over its cells."""
    name, tables = reference.feature, (reference.counts, *reference.segments.values())
    if any(int(counts.min(initial=0)) < 0 for counts in tables):
        raise BaselineInvalid(f"`{name}` has counts below 0")
    if not math.isfinite(reference.dispersion):
        raise BaselineInvalid(f"`{name}` has a dispersion that is no number")
    if reference.cells.size > MOST_CELLS or len(reference.segments) > MOST_SEGMENTS:
        raise BaselineInvalid(
            f"`{name}` has {reference.cells.size} cells and {len(reference.segments)} segments;"
            f" {MOST_CELLS} and {MOST_SEGMENTS} are most"
        )


def _why_not(reference: Reference, known: Mapping[str, bool]) -> str | None:
    name = reference.feature
    signal = SIGNALS_BY_NAME.get(name)
    if signal is not None:
        fits = signal.kind == reference.kind
        return None if fits else f"the signal is {signal.kind}, the column {reference.kind}"
    if not name.startswith(INPUT):
        return f"no signal; inputs of models are called `{INPUT}<name>`"
    if not known:
        return None
    if name not in known:
        near = ", ".join(list(known)[:10])
        return f"no model of the route is asked with it; name one with `--map` ({near})"
    if known[name] != (reference.kind == "numeric"):
        asked = "numbers" if known[name] else "text or flags"
        return f"models are asked with {asked} here; write the column so"
    return None


def _check_season(window: Window) -> None:
    if window.to_us - window.from_us < SEASON_US:
        raise BaselineInvalid(
            "hours of the week need a period of two weeks at least; choose a longer one with"
            " `--since 14d`, or go without `--seasonal`"
        )


def _period(repository: Repository, config: MonitorOptions, route: str, wanted: Wanted) -> Period:
    source: dict[str, object] = {"kind": "period"}
    window = wanted.window
    if wanted.previous_s is not None:
        source = {"kind": "previous", "length_s": wanted.previous_s}
    elif wanted.last is not None:
        source["last"] = wanted.last
        window = _window_of_last(repository, config, route, wanted)
    if wanted.variant is not None:
        source["variant"] = wanted.variant
    if wanted.seasonal:
        source["seasonal"] = True
    return Period(wanted.name, route, window, source, wanted.variant, wanted.seasonal)


def _window_of_last(
    repository: Repository, config: MonitorOptions, route: str, wanted: Wanted
) -> Window:
    assert wanted.last is not None, "asked for by its callers"
    if wanted.last < config.min_samples:
        raise BaselineInvalid(
            f"{wanted.last} rows are too few for a baseline; `monitors.min_samples` is"
            f" {config.min_samples}, ask for more with `--last`"
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
        source=baseline.source,
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
        segments={name: int(rows.sum()) for name, rows in reference.segments.items()},
        dispersion=reference.dispersion,
    )
