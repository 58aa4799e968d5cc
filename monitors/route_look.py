"""One look at one route: new rows to the detectors, windows compared, verdicts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from monitors import streams as following
from monitors.baselines import Reference
from monitors.certainty import could_change, surely_material
from monitors.counted import CountedWindows, RowWindows, windows_of_route
from monitors.drift import Comparison, TooFew, compare
from monitors.endings import ended, has_ended
from monitors.evidence import Budget, Evidence
from monitors.memory import Memory, is_held
from monitors.observed import CellCounts, missing_of, rows_of
from monitors.observed import Window as Seen
from monitors.openings import told
from monitors.options import MonitorOptions
from monitors.seasons import of_window
from monitors.signals.table import Signal
from monitors.silence import given_up
from monitors.streams import RouteStreams, Source, Stream, StreamKey
from monitors.verdicts import Found, Look, StreamView, judge, levels_for
from monitors.windows import SECOND_US, Window, window_ending
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Verdict

UNDECIDED = "counts leave the verdict open, and the rows are too many to read, or gone"
"""In a verdict's `details["undecided"]`: its rows might say another word."""
MOST_US = 7 * 86_400 * SECOND_US
"""How far back an effect is measured."""
_INPUT = "input."
_GRID = ((21_600 * SECOND_US, 3_600 * SECOND_US), (3_600 * SECOND_US, 300 * SECOND_US))
"""Lengths of windows, and the steps that their starts are moved back to."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A chosen baseline, read.

    Attributes
    ----------
    baseline : str
        `name@version`.
    signals : tuple of Signal
        What is compared: signals that are enabled, and the baseline's inputs of models.
    sources : mapping of StreamKey to Source
        What detectors follow.
    """

    baseline: str
    created_at: int
    references: Mapping[str, Reference]
    signals: tuple[Signal, ...]
    sources: Mapping[StreamKey, Source]
    budget: Budget

    @classmethod
    def of(
        cls,
        origin: tuple[str, int],
        references: Mapping[str, Reference],
        signals: Sequence[Signal],
        config: MonitorOptions,
    ) -> "Prepared":
        """Choose what is compared and followed, and share the budget among it."""
        off = {name for name, feature in config.features.items() if not feature.enabled}
        kept = {
            name: reference
            for name, reference in references.items()
            if name not in off
            and (name.startswith(_INPUT) or any(signal.name == name for signal in signals))
        }
        inputs = [
            Signal(name, kept[name].kind, "", "Input of a model.", name, "not told")
            for name in sorted(kept)
            if name.startswith(_INPUT)
        ]
        sources = following.sources_of(kept, config.segments, config.min_samples)
        segments = sum(1 for segment, _ in sources if segment)
        budget = Budget.of(config, len(sources) - segments, segments)
        return cls(*origin, kept, (*signals, *inputs), sources, budget)

    @property
    def origin(self) -> tuple[str, int]:
        """What its detectors are known by."""
        return self.baseline, self.created_at

    @property
    def inputs(self) -> list[Signal]:
        """Inputs of models."""
        return [signal for signal in self.signals if signal.name.startswith(_INPUT)]


class Looked(NamedTuple):
    """What a look gave: verdicts, and where the detectors stand after it.

    Attributes
    ----------
    given_up : mapping of StreamKey to str
        Open streams that were waited for long enough, and why; they have no verdict.
    """

    verdicts: list[Verdict]
    streams: RouteStreams
    given_up: Mapping[StreamKey, str]


class _Effect(NamedTuple):
    """A stream, with what it shows over a window that is not the look's; None where it is."""

    stream: Stream | None
    found: Found | None = None
    window: Window | None = None


class RouteLook:
    """A look at a route within one moment of the log.

    Parameters
    ----------
    previous : mapping of StreamKey to Verdict
        The newest verdict of each stream.
    """

    def __init__(
        self,
        log: LogReader,
        config: MonitorOptions,
        prepared: Prepared,
        look: Look,
        previous: Mapping[StreamKey, Verdict],
    ) -> None:
        self._log = log
        self._config = config
        self._prepared = prepared
        self._look = look
        self._previous = previous
        self._windows: dict[Window, RowWindows | CountedWindows] = {}
        self._cells: dict[tuple[str, Window], Mapping[str, Mapping[int, int]]] = {}

    def run(self, before: RouteStreams | None) -> Looked:
        """Take in what is new, compare, judge.

        Parameters
        ----------
        before : RouteStreams or None
            Where the detectors stood after the look before; None begins them behind all rows.
        """
        streams = self._fed(before)
        kinds = {signal.name: signal for signal in self._prepared.signals}
        verdicts = {
            ("", name): self._whole(signal, streams.streams)
            for name, signal in kinds.items()
            if self._is_there(signal)
        }
        verdicts |= {
            key: self._segment(key, stream, verdicts["", key[1]])
            for key, stream in streams.streams.items()
            if key[0] and self._is_told(key, stream)
        }
        left = {key: why for key, now in verdicts.items() if (why := self._given_up(key, now))}
        sources = self._prepared.sources
        after = {
            key: sources[key].begin()
            if key in left or self._is_over(key, stream, verdicts.get(key))
            else stream
            for key, stream in streams.streams.items()
        }
        kept = [verdict for key, verdict in verdicts.items() if key not in left]
        return Looked(kept, streams._replace(streams=after), left)

    def _fed(self, before: RouteStreams | None) -> RouteStreams:
        prepared, log, route = self._prepared, self._log, self._look.route
        if before is None:
            before = RouteStreams(prepared.origin, following.head_of(log, route), {})
        new = following.count_new(log, route, before.batch, prepared.sources)
        if new.batch < before.batch:
            # The database was made anew: what the detectors had seen is no part of it.
            before = before._replace(streams={})
        resting = {key for key in prepared.sources if self._memory(key).open}
        moment = self._look.at, resting
        return following.feed(before, prepared.sources, new, prepared.budget.alarm_at, moment)

    def _memory(self, key: StreamKey) -> Memory:
        return Memory.of(self._previous.get(key), self._look.baseline)

    def _is_there(self, signal: Signal) -> bool:
        """Say whether a route has what most have nothing of: in its baseline, or now."""
        if not signal.optional or signal.name in self._prepared.references:
            return True
        seen = self._windows_of(self._look.window).window(self._look.route, signal)
        return missing_of(seen) < rows_of(seen) or self._memory(("", signal.name)).open

    def _is_told(self, key: StreamKey, stream: Stream) -> bool:
        memory = self._memory(key)
        return stream.alarm is not None or memory.open or memory.latched

    def _given_up(self, key: StreamKey, now: Verdict) -> str:
        """Return why an episode that has too few rows is waited for no more; empty if it is.

        Evidence alone waits as long as it takes until there are rows enough to say of what.
        """
        last = self._previous.get(key)
        if now.value is not None or has_ended(now) or last is None or not self._memory(key).open:
            return ""
        return given_up(last, self._look.at, self._look.patience)

    def _is_over(self, key: StreamKey, stream: Stream, now: Verdict | None) -> bool:
        """Say whether an episode, or evidence that came to nothing, ended with this look."""
        if now is None or is_held(now) or (now.value is None and not has_ended(now)):
            return False
        return self._memory(key).open or stream.alarm is not None

    def _whole(self, signal: Signal, streams: Mapping[StreamKey, Stream]) -> Verdict:
        key = ("", signal.name)
        stream = streams.get(key)
        look = self._look
        found = self._compared(signal, look.window, latched=False)
        latched = stream is not None and stream.alarm is not None
        effect = self._effect(key, stream, lambda w: self._compared(signal, w, latched=latched))
        previous = self._left(key, found, effect.found) if signal.name.startswith(_INPUT) else None
        if previous is not None:
            scope = Scope(ReadWindow(look.window.from_us, look.window.to_us), route=look.route)
            if self._log.counts(scope):
                return ended(previous, look.window, f"`{signal.name}` has no rows any more")
        return self._judged(key, found, effect)

    def _left(self, key: StreamKey, found: Found, effect: Found | None) -> Verdict | None:
        """Return the verdict that holds a stream which has no rows any more.

        Where rows of others come that is no silence, and nothing else would ever end it.
        """
        previous = self._previous.get(key)
        seen = found.n_current + (0 if effect is None else effect.n_current)
        return None if seen or previous is None or not is_held(previous) else previous

    def _segment(self, key: StreamKey, stream: Stream, whole: Verdict) -> Verdict:
        found = self._in_segment(key, self._look.window)
        effect = self._effect(key, stream, lambda window: self._in_segment(key, window))
        previous = self._left(key, found, effect.found)
        if previous is not None and whole.n_current:
            return ended(previous, self._look.window, f"`{key[0]}` has no rows any more")
        return self._judged(key, found, effect)

    def _effect(
        self, key: StreamKey, stream: Stream | None, compared: Callable[[Window], Found]
    ) -> _Effect:
        """Measure what a stream shows beside the look's window.

        Days of little would hide what begins among them: the last stretch, as long as the evidence
        took, stands for all since the onset where its effect is surely material.
        """
        window = self._window_of(key, stream)
        if window is None:
            return _Effect(stream)
        if stream is not None and stream.alarm is not None and not self._memory(key).open:
            alarm, own = stream.alarm, self._look.window
            length_us = max(own.to_us - own.from_us, alarm.at - alarm.onset_at)
            recent = Window(_on_grid(own.to_us - length_us, own.to_us), own.to_us)
            found = compared(recent) if recent.from_us > window.from_us else None
            levels = levels_for(self._config, key[1])
            if isinstance(found, Comparison) and surely_material(found, levels):
                renewed = msgspec.structs.replace(alarm, onset_at=recent.from_us)
                return _Effect(dataclasses.replace(stream, alarm=renewed), found, recent)
        return _Effect(stream, compared(window), window)

    def _judged(self, key: StreamKey, found: Found, effect: _Effect) -> Verdict:
        segment, feature = key
        stream = effect.stream
        evidence = Evidence(
            self._prepared.budget,
            segment,
            None if stream is None else stream.log_evidence,
            None if stream is None else stream.alarm,
        )
        previous = self._previous.get(key)
        levels = levels_for(self._config, feature)
        view = StreamView(evidence, effect.found, effect.window)
        verdict = judge(found, levels, self._look, previous, view)
        shown = next((c for c in (effect.found, found) if isinstance(c, Comparison)), None)
        if shown is not None and self._is_undecided(key, shown, verdict):
            verdict = _with(verdict, undecided=UNDECIDED)
        if verdict.verdict == "drift" and not self._memory(key).open and shown is not None:
            verdict = told(
                self._log, verdict, self._prepared.references[feature], shown.new_examples
            )
        return verdict

    def _is_undecided(self, key: StreamKey, shown: Comparison, verdict: Verdict) -> bool:
        if key[0]:
            return False
        levels = levels_for(self._config, key[1])
        latched = verdict.details["latched"] is True
        return could_change(shown, levels, was_open=self._memory(key).open, latched=latched)

    def _window_of(self, key: StreamKey, stream: Stream | None) -> Window | None:
        """Return the window of a stream's effect where it is not the look's.

        Of evidence alone it begins at the estimated onset; of an open episode it is as long as
        the drift took to be found, so that what ends it was looked at as closely.
        """
        memory, own = self._memory(key), self._look.window
        length_us = memory.opened_at - memory.onset_at
        if not memory.open:
            if stream is None or stream.alarm is None:
                return None
            length_us = own.to_us - stream.alarm.onset_at
            if length_us <= 0:
                return None  # The clock was set back.
        elif length_us <= own.to_us - own.from_us:
            return None
        window = Window(_on_grid(own.to_us - min(length_us, MOST_US), own.to_us), own.to_us)
        return None if window == own else window

    def _windows_of(self, window: Window) -> RowWindows | CountedWindows:
        if window not in self._windows:
            prepared, route = self._prepared, self._look.route
            asked = ReadWindow(window.from_us, window.to_us)
            windows = windows_of_route(self._log, route, asked, prepared.inputs)
            windows.prepare(route, prepared.baseline, prepared.references)
            self._windows[window] = windows
        return self._windows[window]

    def _compared(self, signal: Signal, window: Window, *, latched: bool) -> Found:
        windows = self._windows_of(window)
        route = self._look.route
        found = self._compare(windows.window(route, signal), signal, window)
        levels = levels_for(self._config, signal.name)
        was_open = self._memory(("", signal.name)).open
        if isinstance(found, TooFew) or not could_change(
            found, levels, was_open=was_open, latched=latched
        ):
            return found
        rows = windows.rows(route, signal.name)
        return found if rows is None else self._compare(rows, signal, window)

    def _compare(self, seen: Seen, signal: Signal, window: Window) -> Found:
        least, references = self._config.min_samples, self._prepared.references
        reference = references.get(signal.name)
        if reference is None:
            return TooFew(signal.name, signal.kind, 0, rows_of(seen), least)
        alpha = self._prepared.budget.window_alpha
        reference, seen = of_window(reference, seen, window)
        return compare(reference, seen, alpha=alpha, min_samples=least)

    def _in_segment(self, key: StreamKey, window: Window) -> Found:
        segment, feature = key
        if (segment, window) not in self._cells:
            scope = Scope(ReadWindow(window.from_us, window.to_us), route=self._look.route)
            self._cells[segment, window] = self._log.cells(
                scope, self._prepared.baseline, segment=segment
            )
        whole = self._prepared.references[feature]
        counts = np.zeros(whole.cells.size, dtype=np.int64)
        for cell, rows in self._cells[segment, window].get(feature, {}).items():
            counts[cell] = rows
        of_segment = whole.segments[segment]
        reference = dataclasses.replace(whole, rows=int(of_segment.sum()), counts=of_segment)
        alpha = self._prepared.budget.window_alpha
        return compare(
            reference, CellCounts(counts), alpha=alpha, min_samples=self._config.min_samples
        )


def _on_grid(from_us: int, to_us: int) -> int:
    """Return a start that streams of about the same onset share, so that one read serves them."""
    for length_us, step_us in _GRID:
        if to_us - from_us >= length_us:
            return from_us // step_us * step_us
    return from_us


def _with(verdict: Verdict, **details: object) -> Verdict:
    return msgspec.structs.replace(verdict, details={**verdict.details, **details})


def look_of(route: str, now_us: int, prepared: Prepared, config: MonitorOptions) -> Look:
    """Return what all streams of a look at a route share."""
    return Look(
        at=now_us,
        route=route,
        window=window_ending(now_us, config.window),
        baseline=prepared.baseline,
        clear_after=config.clear_after,
    )
