"""What was seen of real drift, as JSON and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from real_drift_data import SETS, Column, DataSet, Known, inputs_of, outputs_of
from real_drift_rules import RULE_NAMES, Said, judged
from tables import table


class Route(NamedTuple):
    """What is replayed on a route.

    Attributes
    ----------
    baseline : str
        `file` or `traffic`: what its reference comes from.
    reference, rows : dict of str to ndarray
        Columns of the reference, and of what is sent.
    """

    name: str
    baseline: str
    reference: Mapping[str, Column]
    rows: Mapping[str, Column]
    known: tuple[Known, ...]


class Seen(NamedTuple):
    """What came of a route.

    Attributes
    ----------
    looks : list of int
        Row sent last before each look, of the looks while rows were sent, in order.
    opened : list of dict
        Episodes: monitor, feature, the row sent last before the look, the estimated onset's.
    hooks : list of str
        Types of the webhooks about it.
    refused : int
        Requests that were not answered 200.
    """

    route: Route
    looks: list[int]
    opened: list[dict[str, Any]]
    hooks: list[str]
    refused: int

    @property
    def rows_a_look(self) -> int:
        """How many rows a look had on average: more than planned where the machine was slow."""
        return max(1, int(self.route.rows["label"].size) // max(1, len(self.looks)))


class Delay(NamedTuple):
    """How a known change of a feature was found; None: it was not, or has no estimate."""

    feature: str
    known: Known
    rows: int | None
    looks: int | None
    onset_off: int | None


def delays(seen: Seen) -> list[Delay]:
    """Return each change that is known with the first episode after it."""
    found = []
    for known in seen.route.known:
        for feature in known.features:
            after = [
                one for one in seen.opened if one["feature"] == feature and one["row"] >= known.row
            ]
            if not after:
                found.append(Delay(feature, known, None, None, None))
                continue
            row, onset = after[0]["row"], after[0]["onset_row"]
            looks = sum(known.row < look <= row for look in seen.looks)
            off = None if onset is None else onset - known.row
            found.append(Delay(feature, known, row - known.row, looks, off))
    return found


def early(seen: Seen) -> list[dict[str, Any]]:
    """Return episodes that opened before anything is known to have changed."""
    known = seen.route.known
    first = min((one.row for one in known if one.row), default=None)
    from_the_start = {feature for one in known if not one.row for feature in one.features}
    return [
        one
        for one in seen.opened
        if (first is None or one["row"] < first) and one["feature"] not in from_the_start
    ]


def others(seen: Seen) -> list[dict[str, Any]]:
    """Return episodes after the first change of features of which no change is known."""
    listed = {feature for one in seen.route.known for feature in one.features}
    before = early(seen)
    return [one for one in seen.opened if one not in before and one["feature"] not in listed]


def document(found: Mapping[str, Sequence[Seen]]) -> dict[str, Any]:
    """Return everything that was seen."""
    return {
        name: [
            {
                "route": seen.route.name,
                "baseline": seen.route.baseline,
                "reference_rows": int(seen.route.reference["label"].size),
                "rows": int(seen.route.rows["label"].size),
                "looks": len(seen.looks),
                "look_rows": seen.looks,
                "refused": seen.refused,
                "opened": seen.opened,
                "webhooks": {kind: seen.hooks.count(kind) for kind in sorted(set(seen.hooks))},
                "delays": [
                    {"feature": one.feature, "row": one.known.row, "rows": one.rows}
                    | {"looks": one.looks, "onset_off": one.onset_off}
                    for one in delays(seen)
                ],
            }
            for seen in group
        ]
        for name, group in found.items()
    }


def restored(told: Sequence[Mapping[str, Any]], routes: Sequence[Route]) -> list[Seen]:
    """Return what `document` wrote of a data set."""
    by_name = {route.name: route for route in routes}
    return [
        Seen(
            by_name[one["route"]],
            one["look_rows"],
            one["opened"],
            [kind for kind, times in one["webhooks"].items() for _ in range(times)],
            one["refused"],
        )
        for one in told
    ]


def markdown(found: Mapping[str, Sequence[Seen]]) -> str:
    """Return the tables."""
    parts = []
    for data in SETS:
        if data.name in found:
            parts += [f"### {data.title}", "", _ours(found[data.name]), ""]
            parts += [_rules(data, found[data.name]), ""]
    return "\n".join(parts)


def _ours(group: Sequence[Seen]) -> str:
    rows = []
    for seen in group:
        size = seen.route.rows["label"].size
        found = "; ".join(_delay(one) for one in delays(seen))
        false = ", ".join(_named(one) for one in early(seen)) or "none"
        rows.append(
            [
                seen.route.name,
                f"{seen.route.baseline}, {seen.route.reference['label'].size:,}",
                f"{size:,} in {len(seen.looks)} looks",
                found or "-",
                false,
                ", ".join(_named(one) for one in others(seen)) or "none",
                str(sum(kind.endswith(".opened") for kind in seen.hooks)),
            ]
        )
    header = ["route", "baseline, rows", "replayed", "found after the change (onset off by)"]
    header += ["opened before any change", "other features after it", "alerts opened"]
    return table(header, rows)


def _named(one: Mapping[str, Any]) -> str:
    kind = "" if one["monitor"] == "drift" else f" ({one['monitor']})"
    return f"{one['feature']}{kind} at row {one['row']:,}"


def _delay(one: Delay) -> str:
    if one.rows is None:
        return f"{one.feature}: never"
    off = "" if one.onset_off is None else f" ({one.onset_off:+,} rows)"
    return f"{one.feature}: {one.rows:,} rows, look {one.looks}{off}"


def _rules(data: DataSet, group: Sequence[Seen]) -> str:
    """Compare with fixed rules on the same rows."""
    said = {
        seen.route.name: judged(
            _watched(seen.route.reference), _watched(seen.route.rows), group[0].rows_a_look
        )
        for seen in group
        if seen.route.baseline == "file"
    }
    rows = [_of_us(data, group)]
    for rule in RULE_NAMES:
        chosen = {name: [one for one in all_ if one.rule == rule] for name, all_ in said.items()}
        rows.append(
            [
                rule,
                *(_looks(group[0], chosen[data.name], group[0].rows_a_look)),
                *(
                    str(sum(one.episodes for one in chosen[f"{data.name}-{kind}"]))
                    for kind in ("quiet", "shuffled")
                ),
            ]
        )
    header = ["rule", "looks to find what is known", "missed", "episodes before the first change"]
    return table([*header, "quiet, as it comes", "quiet, shuffled"], rows)


def _watched(columns: Mapping[str, Column]) -> dict[str, Column]:
    return {**{name: columns[name] for name in inputs_of(columns)}, **outputs_of(columns)}


def _of_us(data: DataSet, group: Sequence[Seen]) -> list[str]:
    by_name = {seen.route.name: seen for seen in group}
    all_ = delays(by_name[data.name])
    looks = [float(one.looks) for one in all_ if one.looks is not None]
    return [
        "driftgate",
        _spread(looks),
        str(sum(one.rows is None for one in all_)),
        str(len(early(by_name[data.name]))),
        *(str(len(by_name[f"{data.name}-{kind}"].opened)) for kind in ("quiet", "shuffled")),
    ]


def _looks(seen: Seen, said: Sequence[Said], look: int) -> list[str]:
    first = min(known.row for known in seen.route.known if known.row) // look
    listed = {f for known in seen.route.known if not known.row for f in known.features}
    found: list[float] = []
    missed = 0
    for known in seen.route.known:
        for one in said:
            if one.feature in known.features:
                after = np.flatnonzero(one.alarms[known.row // look :])
                found += [float(after[0] + 1)] if after.size else []
                missed += not after.size
    quiet = [one for one in said if one.feature not in listed]
    before = sum(one._replace(alarms=one.alarms[:first]).episodes for one in quiet)
    return [_spread(found), str(missed), str(before)]


def _spread(looks: Sequence[float]) -> str:
    if not looks:
        return "-"
    return f"{np.median(looks):g} ({min(looks):g}-{max(looks):g})"
