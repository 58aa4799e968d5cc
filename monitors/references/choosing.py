"""Which baseline a route is compared with now; those that configuration promises are made here."""

import logging
from collections.abc import Mapping, Sequence

from monitors.baselines import choose_baseline, label
from monitors.errors import BaselineInvalid, NoBaseline
from monitors.options import MonitorOptions
from monitors.references.making import DAY_US, Period, Store, make
from monitors.references.options import BaselineDefaults, BaselineOptions
from monitors.references.stored import SEASON_US
from monitors.windows import SECOND_US, Window, from_us, to_us
from storage import reference_reads as reads
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline

CONFIGURED = "configured"
"""Name of the baseline that `monitors.baseline: {from, to}` makes."""
AUTOMATIC = "automatic"
"""Name of the one that a route's first days become."""
PREVIOUS = "previous"
"""Name of the one that `monitors.baseline: {previous: ...}` makes anew every day."""
ROLLING_KEPT = 8
"""Versions of a rolling baseline that are kept."""
SETTLE_US = 60 * SECOND_US
"""Requests that started at the period's very end may still run, and are logged when they end."""

_NOW = "`monitor baseline set` sets one now"
log = logging.getLogger(__name__)


def ensure(
    store: Store, config: MonitorOptions, route: str, now_us: int, *, calm: bool = True
) -> Baseline:
    """Return the baseline of a route; make what the configuration promises and is due.

    The one that was created last holds, whoever made it; whatever is made here is logged. It may
    come without its cells, which `whole` reads: looks need them once.

    Parameters
    ----------
    calm : bool
        False while the route has open episodes: a rolling baseline then stays as it is, since
        what drifts must not become the norm.

    Raises
    ------
    NoBaseline
        There is none yet; the message says when there will be, and how to set one now.
    BaselineInvalid
        The configured period holds too few rows, and there is no other baseline.
    """
    existing = store.baseline_heads(route)
    making = _Making(store, config, route, now_us)
    return making.rolled(making.chosen(existing), calm=calm)


def whole(store: Store, baseline: Baseline) -> Baseline:
    """Return a baseline with its cells.

    Raises
    ------
    NoBaseline
        It was dropped meanwhile.
    """
    if baseline.cells:
        return baseline
    found = store.load_baseline(baseline.route, baseline.name, baseline.version)
    if found is None:
        raise NoBaseline(f"baseline `{label(baseline)}` of route `{baseline.route}` was dropped")
    return found


def awaited(log: LogReader, config: MonitorOptions, route: str, now_us: int) -> str | None:
    """Say when a route's first days become its baseline; None where nobody promised that."""
    options = config.baseline
    if options is None or options.start is not None or options.previous is not None:
        return None
    ripe = _first_days(log, config, options, route, now_us)
    if isinstance(ripe, str):
        return ripe
    return (
        f"route `{route}`: its first days become its baseline as soon as the server looks; {_NOW}"
    )


def is_rolling(baseline: Baseline) -> bool:
    """Return whether a baseline moves with time: a new version a day."""
    return baseline.source.get("kind") == PREVIOUS


def rolling_window(length_us: int, now_us: int) -> Window:
    """Return the period that ends with the last midnight, in UTC."""
    midnight = now_us // DAY_US * DAY_US
    return Window(midnight - length_us, midnight)


class _Making:
    """What is made for one route at one time."""

    def __init__(self, store: Store, config: MonitorOptions, route: str, now_us: int) -> None:
        self._store = store
        self._config = config
        self._options = BaselineDefaults() if config.baseline is None else config.baseline
        self._route = route
        self._now_us = now_us

    def chosen(self, existing: Sequence[Baseline]) -> Baseline:
        """Return the baseline that holds, made if it was not there."""
        options = self._options
        if options.start is not None and options.end is not None:
            return self.configured(Window(to_us(options.start), to_us(options.end)), existing)
        if options.previous is not None:
            return self.rolling(options.previous, existing)
        if existing or self._config.baseline is None:
            return choose_baseline(existing, self._route)
        return self.automatic()

    def configured(self, window: Window, existing: Sequence[Baseline]) -> Baseline:
        """Build the configured baseline once its period has passed."""
        last = _newest(existing, CONFIGURED)
        if last is not None and self._is_of(last, window):
            return choose_baseline(existing, self._route)
        if self._now_us < window.to_us + SETTLE_US:
            if existing:
                return choose_baseline(existing, self._route)
            raise NoBaseline(
                f"route `{self._route}`: the baseline's period ends at {from_us(window.to_us)}, "
                "nothing is compared before; shorten `monitors.baseline.to` to start sooner, or"
                f" {_NOW}"
            )
        try:
            return self._make(CONFIGURED, window, {"kind": "period"})
        except BaselineInvalid:
            if not existing:
                raise
            return choose_baseline(existing, self._route)  # one set by hand serves as well

    def rolling(self, length_s: float, existing: Sequence[Baseline]) -> Baseline:
        """Make the configured rolling baseline; one that was set by hand later holds."""
        source = self._rolling_source(round(length_s * SECOND_US))
        newest = choose_baseline(existing, self._route) if existing else None
        last = _newest(existing, PREVIOUS)
        if newest is not None and source in (newest.source, None if last is None else last.source):
            return newest
        window = rolling_window(round(length_s * SECOND_US), self._now_us)
        try:
            return self._make(PREVIOUS, window, source)
        except BaselineInvalid as error:
            if newest is not None:
                return newest
            raise NoBaseline(
                f"{error}; it is tried again after {from_us(window.to_us + DAY_US)}; {_NOW}"
            ) from error

    def rolled(self, newest: Baseline, *, calm: bool) -> Baseline:
        """Return a rolling baseline's version of the day; any other baseline as it is."""
        if not is_rolling(newest) or not calm:
            return newest
        length_us = newest.window_to - newest.window_from
        window = rolling_window(length_us, self._now_us)
        if newest.window_to >= window.to_us or self._now_us < window.to_us + SETTLE_US:
            return newest
        try:
            made = self._make(newest.name, window, newest.source)
        except BaselineInvalid:
            return newest  # A quiet week is no reference; the last busy one is.
        oldest = made.version - ROLLING_KEPT + 1
        self._store.drop_baseline(self._route, made.name, before_version=oldest)
        return made

    def automatic(self) -> Baseline:
        """Make the first days the baseline once they are over, and say when that will be."""
        with self._store.snapshot() as log:
            ripe = _first_days(log, self._config, self._options, self._route, self._now_us)
        if isinstance(ripe, str):
            raise NoBaseline(ripe)
        after_us, needed = _patience(self._config, self._options)
        source = {"kind": AUTOMATIC, "after_s": after_us / SECOND_US, "rows": needed}
        return self._make(AUTOMATIC, ripe, source)

    def _is_of(self, made: Baseline, window: Window) -> bool:
        modifiers = {key: made.source[key] for key in ("variant", "seasonal") if key in made.source}
        same = (made.window_from, made.window_to) == (window.from_us, window.to_us)
        return same and modifiers == self._modifiers()

    def _rolling_source(self, length_us: int) -> dict[str, object]:
        source: dict[str, object] = {"kind": PREVIOUS, "length_s": length_us / SECOND_US}
        return source | self._modifiers()

    def _modifiers(self) -> dict[str, object]:
        options = self._options
        found: dict[str, object] = {} if options.variant is None else {"variant": options.variant}
        return found | ({"seasonal": True} if options.seasonal else {})

    def _make(self, name: str, window: Window, source: Mapping[str, object]) -> Baseline:
        whole = {**source, **({} if source.get("kind") == PREVIOUS else self._modifiers())}
        period = Period(
            name,
            self._route,
            window,
            whole,
            variant=_text(whole.get("variant")),
            seasonal=whole.get("seasonal") is True,
        )
        made = make(self._store, self._config, period, self._now_us)
        log.warning(
            "route `%s`: %s is its baseline now, %d rows of %s to %s; `monitor baseline set` sets"
            " another one",
            self._route,
            label(made),
            made.rows,
            from_us(made.window_from),
            from_us(made.window_to),
        )
        return made


def _newest(existing: Sequence[Baseline], name: str) -> Baseline | None:
    """Return the last version of a name: what the configuration asked for before may differ."""
    named = [baseline for baseline in existing if baseline.name == name]
    return max(named, key=lambda baseline: baseline.version, default=None)


def _patience(config: MonitorOptions, options: BaselineOptions) -> tuple[int, int]:
    """Return the microseconds and the rows that a route's first days take at least."""
    after_us = round(options.automatic.after * SECOND_US)
    if options.seasonal:
        after_us = max(after_us, SEASON_US)
    return after_us, max(options.automatic.rows, config.min_samples)


def _first_days(
    log: LogReader, config: MonitorOptions, options: BaselineOptions, route: str, now_us: int
) -> Window | str:
    """Return the period that becomes a route's baseline now, or when it will."""
    after_us, needed = _patience(config, options)
    scope = Scope(ReadWindow(0, now_us), route=route, variant=options.variant)
    rows, first, _ = reads.span_of(log.connection, scope)
    days = _duration(after_us)
    if first is None:
        return (
            f"route `{route}` has no rows yet; its first {days} become its baseline;"
            f" once there are some, {_NOW}"
        )
    end = first + after_us
    if now_us < end + SETTLE_US:
        return (
            f"route `{route}`: the first {days} become its baseline at"
            f" {from_us(end + SETTLE_US)}, nothing is compared before; {_NOW}"
        )
    if rows < needed:
        return (
            f"route `{route}`: the first {needed} rows become its baseline, {rows} are there;"
            f" nothing is compared before; {_NOW}"
        )
    # A log that is older than its program: its newest days are more like what comes.
    begin, end = (now_us - after_us, now_us) if now_us >= end + after_us else (first, end)
    enough = reads.span_of(log.connection, scope._replace(window=ReadWindow(begin, end)))
    return Window(begin, end) if enough.rows >= needed else Window(first, now_us)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _duration(length_us: int) -> str:
    names = {DAY_US: "days", 3_600_000_000: "hours", 60_000_000: "minutes"}
    unit = next((unit for unit in names if length_us >= unit), 1_000_000)
    return f"{length_us / unit:g} {names.get(unit, 'seconds')}"
