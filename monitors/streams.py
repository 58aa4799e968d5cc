"""Streams: what a sequential detector follows of a route, each row once, in order of arrival.

A stream is a feature over all primary rows (segment ``""``) or over those of one segment,
``key=value``. A look takes the rows of the batches since the look before, so that late rows are
seen as well, and none twice; the detectors' states are written in one transaction with the
verdicts of the look. Rows that come in while a stream's evidence is latched, or its episode open,
pass it by: they would teach the pool of a detector what the drift looks like.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from monitors.baselines import Column, Reference, numbers
from monitors.evidence import Alarm
from monitors.references.stored import HOUR_US, hour_of_week
from monitors.windows import SECOND_US
from stats.arrays import CountArray
from stats.categories import Cells
from stats.cells import NumericCells
from stats.detector import DetectorState, begin, look
from stats.detector_cells import detector_cells, reference_counts
from stats.errors import InvalidInput
from storage.log_reader import LogReader
from storage.monitor_records import Detector
from storage.new_rows import NewRows, Rows

OTHER = "(other)"
"""Values of a segment key that the baseline does not tell apart, together."""
STALE_US = 7 * 86_400 * SECOND_US
"""A detector that nobody fed for longer begins anew: what came in since is too much to read."""
_BEHIND_ALL = 2**62
_EARLY = 0.05
"""Quantile of the rows' starts that stands for a look's time: a few late rows do not move it."""

StreamKey = tuple[str, str]
"""Segment and feature."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What the detector of a stream counts over, and begins from."""

    cells: Cells
    counts: CountArray
    dispersion: float = 1.0
    hours: CountArray | None = None
    singles: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Pools and cells of its detector."""
        return 1 if self.hours is None else len(self.hours), self.cells.size

    def begin(self) -> "Stream":
        """Return the stream as it is after the baseline, before any row."""
        state = begin(
            self.cells,
            self.counts,
            dispersion=self.dispersion,
            singles=self.singles,
            hours=self.hours,
        )
        return Stream(state)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A detector between two looks.

    Attributes
    ----------
    log_evidence : float or None
        Of the last look that had rows.
    alarm : Alarm or None
        Evidence that is latched; the detector rests since.
    """

    state: DetectorState
    log_evidence: float | None = None
    alarm: Alarm | None = None


class RouteStreams(NamedTuple):
    """All streams of a route, after the same batch.

    Attributes
    ----------
    origin : tuple of str and int
        Name and time of creation of the baseline that they began from.
    """

    origin: tuple[str, int]
    batch: int
    streams: Mapping[StreamKey, Stream]


class Counted(NamedTuple):
    """What came in since the look before.

    Attributes
    ----------
    batch : int
        The newest batch of the log.
    at : int
        About when the first of the rows started, microseconds since the epoch; 0 without rows.
    counts : mapping of StreamKey to mapping of int to ndarray of int64, shape (cells,)
        Rows by cell, apart by the hour they started in (its start) for streams that know hours of
        the week; together, as hour 0, for the others.
    """

    batch: int
    at: int
    counts: Mapping[StreamKey, Mapping[int, CountArray]]


class _Body(msgspec.Struct, frozen=True):
    """The stored form of a stream."""

    created_at: int
    state: bytes
    log_evidence: float | None
    alarm: Alarm | None


def sources_of(
    references: Mapping[str, Reference], keys: Sequence[str], least_rows: int
) -> dict[StreamKey, Source]:
    """Return the streams of a baseline.

    Parameters
    ----------
    keys : sequence of str
        Segment keys; one whose only value has all rows is left out.
    least_rows : int
        Reference rows below which a segment is not followed.
    """
    found: dict[StreamKey, Source] = {}
    for feature, reference in references.items():
        found["", feature] = _whole(reference)
        for segment in _segments(reference, keys):
            counts = reference.segments[segment]
            if int(counts.sum()) >= least_rows:
                share = int(counts.sum()) / reference.rows
                singles = None if reference.singles is None else round(reference.singles * share)
                found[segment, feature] = Source(
                    reference.cells, counts, reference.dispersion, singles=singles
                )
    return found


def _whole(reference: Reference) -> Source:
    cells, hours = reference.cells, reference.hours
    if isinstance(cells, NumericCells) and reference.sample is not None and hours is None:
        fine = detector_cells(cells, reference.sample)
        counts = reference_counts(fine, cells, reference.counts, reference.sample)
        return Source(fine, counts, reference.dispersion)
    return Source(cells, reference.counts, reference.dispersion, hours, reference.singles)


def _segments(reference: Reference, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        values = [name for name in reference.segments if name.partition("=")[0] == key]
        if len(values) > 1 or any(
            int(reference.segments[name].sum()) < reference.rows for name in values
        ):
            yield from values


def head_of(log: LogReader, route: str) -> int:
    """Return the number of the newest batch of a log."""
    return log.rows_after(route, (), _BEHIND_ALL).batch


def count_new(
    log: LogReader, route: str, after: int, sources: Mapping[StreamKey, Source]
) -> Counted:
    """Count the rows of the batches behind `after`, each stream over its own cells."""
    features = sorted({feature for _, feature in sources})
    keys = sorted({segment.partition("=")[0] for segment, _ in sources if segment})
    counts: dict[StreamKey, dict[int, CountArray]] = {}
    starts: list[CountArray] = []
    batch = after
    for found in _read(log, route, (features, keys), after):
        batch = found.batch
        # Inputs may come after their requests, in a batch without any.
        starts.append(
            (found.requests if found.requests.started_at.size else found.inputs).started_at
        )
        for rows in (found.requests, found.inputs):
            for key, hour, new in _count(rows, sources):
                known = counts.setdefault(key, {})
                known[hour] = known[hour] + new if hour in known else new
    started = np.concatenate(starts)
    at = int(np.quantile(started, _EARLY, method="lower")) if started.size else 0
    return Counted(batch, at, counts)


def _read(
    log: LogReader, route: str, asked: tuple[Sequence[str], Sequence[str]], after: int
) -> Iterator[NewRows]:
    more = True
    while more:
        found = log.rows_after(route, asked[0], after, keys=asked[1])
        yield found
        more, after = found.more, found.batch


def _count(
    rows: Rows, sources: Mapping[StreamKey, Source]
) -> Iterator[tuple[StreamKey, int, CountArray]]:
    if not rows.started_at.size:
        return
    members = _members(rows, {segment for segment, _ in sources if segment})
    for key, source in sources.items():
        column = rows.columns.get(key[1])
        places = members.get(key[0]) if key[0] else None
        if column is None or (key[0] and places is None):
            continue
        if source.hours is None:
            yield key, 0, _over(source.cells, _chosen(column, places))
            continue
        for hour, within in _by_hour(rows, places):
            yield key, hour, _over(source.cells, _chosen(column, within))


def _chosen(column: Column, places: CountArray | None) -> Column:
    if places is None:
        return column
    return column[places] if isinstance(column, np.ndarray) else [column[i] for i in places]


def _by_hour(rows: Rows, places: CountArray | None) -> Iterator[tuple[int, CountArray]]:
    chosen = np.arange(rows.started_at.size) if places is None else places
    hours = rows.started_at[chosen] // HOUR_US
    for hour in np.unique(hours).tolist():
        yield hour * HOUR_US, chosen[hours == hour]


def _over(cells: Cells, column: Column) -> CountArray:
    return cells.count(numbers(column)) if isinstance(cells, NumericCells) else cells.count(column)


def _members(rows: Rows, segments: Collection[str]) -> dict[str, CountArray]:
    """Return the places of each segment's rows; segments without rows are left out."""
    places: dict[str, list[int]] = {}
    for key, values in rows.keys.items():
        rest = f"{key}={OTHER}"
        for place, value in enumerate(values):
            for one in value if isinstance(value, list) else (value,):
                if one is None:
                    continue
                name = f"{key}={one}"
                places.setdefault(name if name in segments else rest, []).append(place)
    # A row with two tags that nobody tells apart is one row of the others.
    return {
        name: np.unique(np.array(found, dtype=np.int64))
        for name, found in places.items()
        if name in segments
    }


def feed(
    before: RouteStreams,
    sources: Mapping[StreamKey, Source],
    new: Counted,
    alarm_at: Callable[[str], float],
    moment: tuple[int, Collection[StreamKey]],
) -> RouteStreams:
    """Show new rows to the detectors.

    Parameters
    ----------
    alarm_at : callable
        Segment to the alarm level of its streams.
    moment : tuple of int and collection of StreamKey
        Time of the look; streams whose episode is open: they rest.
    """
    now_us, resting = moment
    streams = {}
    for key, source in sources.items():
        stream = before.streams.get(key)
        if stream is None or stream.state.pools.shape != source.shape:
            # There was none, or a version of this program that counted over other cells.
            stream = source.begin()
        for hour, counts in sorted(new.counts.get(key, {}).items()):
            rests = stream.alarm is not None or key in resting
            if counts.any() and not rests:
                at = max(new.at, hour)
                stream = _look(stream, source, counts, (alarm_at(key[0]), at, now_us))
        streams[key] = stream
    return RouteStreams(before.origin, new.batch, streams)


def _look(
    stream: Stream, source: Source, counts: CountArray, given: tuple[float, int, int]
) -> Stream:
    alarm_at, started_at, now_us = given
    hour = None if source.hours is None else hour_of_week(started_at)
    found = look(stream.state, counts, alarm_at=alarm_at, at=started_at, hour=hour)
    if not found.alarm:
        return Stream(found.state, found.log_evidence)
    alarm = Alarm(
        at=now_us,
        onset_at=min(found.onset_at, now_us - 1),
        log_evidence=found.log_evidence,
        leading=found.leading,
        rising=found.rising,
        cell="" if found.cell is None else source.cells.labels()[found.cell],
    )
    return Stream(found.state, found.log_evidence, alarm)


def stored(route: str, streams: RouteStreams, now_us: int) -> list[Detector]:
    """Return streams as they are kept in the log."""
    baseline, created_at = streams.origin
    return [
        Detector(
            route=route,
            segment=segment,
            feature=feature,
            baseline=baseline,
            batch=streams.batch,
            updated_at=now_us,
            body=msgspec.msgpack.encode(
                _Body(created_at, stream.state.to_bytes(), stream.log_evidence, stream.alarm)
            ),
        )
        for (segment, feature), stream in streams.streams.items()
    ]


def restored(
    detectors: Sequence[Detector], origin: tuple[str, int], now_us: int
) -> RouteStreams | None:
    """Return the streams of one route as the last look left them.

    Those of another baseline are forgotten, but not what has been seen: the batch stays. None
    where there are none, or they are older than `STALE_US`.
    """
    fresh = [one for one in detectors if one.updated_at >= now_us - STALE_US]
    if not fresh:
        return None
    batch = max(one.batch for one in fresh)
    streams = {}
    for one in fresh:
        stream = _restored(one, origin)
        if stream is not None and one.batch == batch:
            streams[one.segment, one.feature] = stream
    return RouteStreams(origin, batch, streams)


def _restored(detector: Detector, origin: tuple[str, int]) -> Stream | None:
    try:
        body = msgspec.msgpack.decode(detector.body, type=_Body)
        if (detector.baseline, body.created_at) != origin:
            return None
        return Stream(DetectorState.from_bytes(body.state), body.log_evidence, body.alarm)
    except (msgspec.MsgspecError, InvalidInput):
        return None  # written by another version of this program: the detector begins anew
