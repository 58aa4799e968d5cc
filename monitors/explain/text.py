"""The state of drift and its explanations for people at a terminal."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitors.embeddings.names import group_of
from monitors.explain.bars import histogram_lines
from monitors.explain.model import (
    DriftExplained,
    DriftState,
    ExactTest,
    Explanation,
    KeySplit,
    Onset,
    StreamState,
)
from monitors.report import words
from monitors.report.printable import printable
from monitors.report.tables import Cell, Column, folded, table_lines

_COLOURS = {"drift": "red", "critical": "red", "ok": "green", "stale": "yellow"}
_MOST_PARTS = 4
"""Segments of a key that are shown; JSON has all."""
_QUIET = 0.5
"""Evidence, as a share of its alarm level, below which a stream has nothing to tell."""
_ASCII = str.maketrans({"─": "-", "…": "...", "µ": "u"})


class Terminal(NamedTuple):
    """What the terminal can show."""

    width: int = 120
    colour: bool = False
    unicode: bool = True


def render_state(state: DriftState, terminal: Terminal) -> str:
    """Return a table of streams."""
    lines = [f"Drift, {words.period(state.interval)} (UTC)", ""]
    told, folded = _parted(state.streams)
    if state.streams:
        columns = [
            Column(name, left=name in _LEFT, sentence=name == "what changed")
            for name in _STATE_COLUMNS
        ]
        rows = [_state_row(stream) for stream in told]
        lines += table_lines("Streams", columns, rows, width=terminal.width, colour=terminal.colour)
        lines.append("")
    lines += _told([*_folded(folded), *state.notes], terminal)
    if any(stream.verdict == "drift" for stream in state.streams):
        lines += ["`monitor drift --explain` says what moved, since when, and who carries it"]
    return _text(lines, terminal)


_STATE_COLUMNS = (
    "route",
    "segment",
    "feature",
    "verdict",
    "PSI",
    "95 %",
    "threshold",
    "rows then",
    "rows now",
    "evidence",
    "onset",
    "open since",
    "also watched by",
    "what changed",
)
_LEFT = frozenset({"route", "segment", "feature", "verdict", "also watched by", "what changed"})


def _state_row(stream: StreamState) -> list[Cell]:
    word = words.verdict(stream.verdict, stream.severity)
    evidence = "-" if stream.evidence_share is None else f"{stream.evidence_share:.0%}"
    return [
        Cell(stream.route),
        Cell(stream.segment or "all"),
        Cell(stream.feature),
        Cell(word, _COLOURS.get(stream.verdict, "")),
        Cell(words.psi(stream.value)),
        Cell(words.span(words.psi(stream.low), words.psi(stream.high))),
        Cell(words.psi(stream.threshold)),
        Cell(words.number(stream.n_reference) if stream.n_reference else "-"),
        Cell(words.number(stream.n_current) if stream.window is not None else "-"),
        Cell(evidence),
        Cell(words.moment(stream.onset_at)),
        Cell(words.moment(stream.opened_at)),
        Cell(", ".join(stream.monitors) or "-"),
        Cell("" if stream.verdict == "ok" and _is_quiet(stream) else stream.cause),
    ]


def _parted(streams: Sequence[StreamState]) -> tuple[list[StreamState], list[StreamState]]:
    """Return the streams of the table, and those that a sentence below it tells together.

    Nothing is to be seen of the latter: segments that are merely watched, beside streams of all
    rows; signals that the baseline has nothing of, beside others; directions of an embedding that
    say less than another one.
    """
    has_whole = any(not one.segment for one in streams)
    has_known = not all(map(_is_unknown, streams))
    lesser = _lesser_parts(streams)
    told: list[StreamState] = []
    folded: list[StreamState] = []
    for number, stream in enumerate(streams):
        if stream.verdict == "drift":
            is_folded = False
        elif stream.verdict == "watched":
            is_folded = number in lesser or (has_whole and _is_quiet(stream))
        else:
            is_folded = number in lesser or (has_known and _is_unknown(stream))
        (folded if is_folded else told).append(stream)
    return told, folded


def _folded(folded: Sequence[StreamState]) -> Iterator[str]:
    parts = {name for one in folded if (name := group_of(one.feature)) is not None}
    for name in sorted(parts):
        yield f"quiet directions of `{name}` are not listed: `--feature {name}` lists them"
    folded = [stream for stream in folded if group_of(stream.feature) is None]
    watched = [stream for stream in folded if stream.verdict == "watched"]
    if watched:
        segments = sorted({stream.segment for stream in watched})
        some = ", ".join(segments[:_MOST_PARTS]) + (", …" if len(segments) > _MOST_PARTS else "")
        most = max(stream.evidence_share or 0.0 for stream in watched)
        yield (
            f"{len(watched)} quiet streams of {some} are not listed, evidence up to {most:.0%};"
            " `--segment` lists those of one, `--format json` all"
        )
    for route, baseline in sorted({(s.route, s.baseline) for s in folded if _is_unknown(s)}):
        names = sorted(
            s.feature
            for s in folded
            if _is_unknown(s) and (s.route, s.baseline) == (route, baseline)
        )
        yield f"`{baseline}` of route `{route}` has nothing of {', '.join(names)}: not compared"


def _lesser_parts(streams: Sequence[StreamState]) -> set[int]:
    """Return the places of directions of which another one says more; none if nothing else is."""
    groups = [group_of(one.feature) for one in streams]
    if len(set(groups)) == 1:
        return set()
    parts: dict[tuple[str, str, str], list[int]] = {}
    for place, (one, group) in enumerate(zip(streams, groups, strict=True)):
        if group is not None:
            parts.setdefault((one.route, one.segment, group), []).append(place)
    most = {max(places, key=lambda place: _says(streams[place])) for places in parts.values()}
    return {place for places in parts.values() for place in places} - most


def _says(stream: StreamState) -> tuple[bool, float]:
    return stream.verdict == "drift", stream.evidence_share or 0.0


def _is_quiet(stream: StreamState) -> bool:
    return (stream.evidence_share or 0.0) < _QUIET


def _is_unknown(stream: StreamState) -> bool:
    return stream.value is None and not stream.n_reference and stream.verdict == "not_enough_data"


def render_explained(explained: DriftExplained, terminal: Terminal) -> str:
    """Return explanations, one under the other."""
    lines = [f"Drift explained, {words.period(explained.interval)} (UTC)", ""]
    for one in explained.explanations:
        lines += [*_explanation(one, terminal), ""]
    lines += _told(explained.notes, terminal)
    return _text(lines, terminal)


def _explanation(one: Explanation, terminal: Terminal) -> Iterator[str]:
    yield from _head(one, terminal)
    yield ""
    yield from _movers(one, terminal)
    yield ""
    yield _title("Then and now", terminal)
    yield from histogram_lines(
        one.histogram, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode
    )
    yield ""
    yield from _carried(one, terminal)
    if one.related:
        yield ""
        yield _title("Moved within the same hour", terminal)
        for other in one.related:
            of = f" of {other.segment}" if other.segment else ""
            text = (
                f"{other.monitor}: {other.feature}{of},"
                f" {words.verdict(other.verdict, other.severity)},"
                f" since {words.moment(other.began_at)}: {other.cause}"
            )
            yield from _indented(text, terminal)
    if one.examples:
        yield ""
        yield _title("Examples of what grew most (`monitor logs ID` opens one)", terminal)
        yield from (f"  {id_}" for id_ in one.examples)
    yield from _deep(one, terminal)
    if one.notes:
        yield ""
        yield from _told(one.notes, terminal)


def _head(one: Explanation, terminal: Terminal) -> Iterator[str]:
    of = f", {one.segment}" if one.segment else ""
    word = words.verdict(one.verdict, one.severity) if one.verdict else "not looked at"
    yield _title(f"{one.route}{of}: {one.feature} ({word})", terminal)
    yield (
        f"  then {one.n_reference:,} rows of {one.baseline}, now {one.n_current:,} rows,"
        f" {words.period(one.now)}"
    )
    for effect in one.effects:
        yield (f"  {effect.name} {effect.value:.4g} (95 %: {effect.low:.4g} to {effect.high:.4g})")
    yield from _indented(f"since: {_since(one.onset)}", terminal)
    nothing = one.onset.at is None and one.verdict != "drift"
    for place, cause in enumerate(one.causes):
        title = "and" if place else "largest difference" if nothing else "likely cause"
        yield from _indented(f"{title}: {cause.text}", terminal)


def _since(onset: Onset) -> str:
    detector = ""
    if onset.detector_at is not None:
        detector = f"; the running detector estimated {words.moment(onset.detector_at)}"
    if onset.at is None:
        return f"no moment found within the interval{detector}"
    if onset.before:
        return f"before the interval begins; an estimate{detector}"
    if onset.first_at == onset.last_at:
        return f"about {words.moment(onset.at)}, within 5 minutes; an estimate{detector}"
    last = words.moment(onset.last_at)
    return (
        f"about {words.moment(onset.at)}, between {words.moment(onset.first_at)} and {last}"
        f" (95 %); an estimate{detector}"
    )


def _movers(one: Explanation, terminal: Terminal) -> Iterator[str]:
    columns = [Column(name, left=not place) for place, name in enumerate(_MOVER_COLUMNS)]
    rows = [
        [
            Cell(mover.cell),
            Cell(words.share(mover.reference)),
            Cell(words.share(mover.current)),
            Cell(f"{mover.change:+.1%}"),
            Cell(f"{mover.change_low:+.1%}..{mover.change_high:+.1%}"),
            Cell(f"{mover.psi_share:.0%}"),
        ]
        for mover in one.movers
    ]
    yield from table_lines(
        "What moved most", columns, rows, width=terminal.width, colour=terminal.colour
    )


_MOVER_COLUMNS = ("bin or category", "then", "now", "change", "95 %", "of PSI")


def _carried(one: Explanation, terminal: Terminal) -> Iterator[str]:
    yield _title("Who carries it", terminal)
    if not one.splits:
        yield "  no segments to tell apart, then and now"
        return
    if not one.carriers:
        yield "  all segments alike: none carries more of the change than its share of the rows"
    shown = {carrier.segment.partition("=")[0] for carrier in one.carriers}
    chosen = [split for split in one.splits if split.key in shown]
    for split in chosen:
        yield (
            f"  {split.key}: of {split.total:.1%} of the rows that moved,"
            f" {split.within:+.1%} within segments, {split.mix:+.1%} by their mix"
        )
        yield from _parts(split)


def _parts(split: KeySplit) -> Iterator[str]:
    for part in split.parts[:_MOST_PARTS]:
        yield (
            f"    {part.segment}: within {part.within:+.1%} ({part.low:+.1%}..{part.high:+.1%}),"
            f" mix {part.mix:+.1%}; {part.weight_reference:.1%} of the rows then,"
            f" {part.weight:.1%} now"
        )


def _deep(one: Explanation, terminal: Terminal) -> Iterator[str]:
    deep = one.deep
    if deep is None:
        return
    yield ""
    yield _title(f"Single rows, the newest {deep.most_rows:,} of each window at most", terminal)
    yield from (_tested(test) for test in deep.tests)
    if deep.classifier is not None:
        yield _tested(deep.classifier)
        carried = ", ".join(f"{name} {area:.3f}" for name, area in deep.carries[:5])
        yield from _indented(f"told apart by: {carried}", terminal)
    if deep.note:
        yield from _indented(deep.note, terminal)


def _tested(test: ExactTest) -> str:
    chance = "" if test.p_value is None else f", p {words.chance(test.p_value)} of one look"
    reach = (
        ""
        if test.low is None or test.high is None
        else f" (95 %: {test.low:.4g} to {test.high:.4g})"
    )
    return (
        f"  {test.name} {test.value:.4g}{reach}{chance}, {test.n_reference:,} v {test.n_current:,}"
    )


def _told(notes: Sequence[str], terminal: Terminal) -> Iterator[str]:
    for note in notes:
        yield from folded(f"note: {note}", terminal.width)


def _indented(text: str, terminal: Terminal) -> Iterator[str]:
    for place, line in enumerate(folded(text, terminal.width - 4)):
        yield f"{'    ' if place else '  '}{line}"


def _title(text: str, terminal: Terminal) -> str:
    return f"\x1b[1m{printable(text)}\x1b[0m" if terminal.colour else printable(text)


def _text(lines: Sequence[str], terminal: Terminal) -> str:
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    if terminal.unicode:
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode()
