"""What `monitor baseline set` sends to the server, or does with the file itself."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.api.baseline_shapes import BaselinesSet, BuiltAdded
from gateway.cli.answers import decode
from gateway.cli.since import Interval, TimeRefused, parse_interval
from gateway.cli.waiting import telling
from router.duration_text import parse_duration_s

if TYPE_CHECKING:
    from gateway.cli.source import Server, Source
    from storage.repository import Repository

FIRST = "1970-01-01"
_PERIODS = ("since", "last", "previous")
_OF_A_LOG = ("since", "until", "last", "previous", "variant")


def check_together(path: Path | None, asked: dict[str, Any]) -> None:
    """Refuse options that exclude each other, or that need another one."""
    periods = [f"--{name}" for name in _PERIODS if asked[name] is not None]
    if path is not None:
        wrong = [f"--{name}" for name in _OF_A_LOG if asked[name] is not None]
        if wrong:
            raise click.UsageError(f"--file and {wrong[0]} exclude each other")
        if asked["route"] is None:
            raise click.UsageError("--file needs --route: the route whose model was trained so")
        return
    if len(periods) > 1:
        raise click.UsageError(f"{periods[0]} and {periods[1]} exclude each other")
    if asked["previous"] is not None and asked["until"] is not None:
        raise click.UsageError("--previous ends at midnight; --until does not go with it")
    if asked["mapped"] or asked["mapped_only"]:
        raise click.UsageError("--map is about the columns of a file; name one with --file")


def set_of_log(
    source: "Source", asked: dict[str, Any]
) -> tuple[Callable[["Server"], BaselinesSet], Callable[["Repository"], BaselinesSet]]:
    """Return how a baseline of logged rows is set: by the server, and without one."""
    last, previous = asked["last"], asked["previous"]
    interval = _interval(source, asked["since"] or (FIRST if last else "24h"), asked["until"])
    body = {name: asked[name] for name in ("name", "route", "last", "variant", "seasonal")}
    body |= {"since_us": interval.from_us, "until_us": interval.to_us}
    shown = f"the last {last} rows" if last else str(interval)
    if previous is not None:
        body["previous_s"] = _duration_s(previous)
        shown = f"the {previous} before midnight, every day"
    click.echo(f"monitor: {shown}", err=True)

    def ask(server: "Server") -> BaselinesSet:
        with telling("the server reads the period"):
            return decode(server.post("/baselines", body), BaselinesSet)

    def read(repository: "Repository") -> BaselinesSet:
        from gateway.api.baseline_jobs import Wanted, set_baselines
        from monitors.windows import Window

        wanted = Wanted(
            asked["name"],
            asked["route"],
            Window(*interval),
            last,
            body.get("previous_s"),
            asked["variant"],
            asked["seasonal"],
        )
        with telling("reading the period"):
            return set_baselines(repository, source.monitors, wanted, source.clock.now_us())

    return ask, read


def set_of_file(
    source: "Source", path: Path, asked: dict[str, Any]
) -> tuple[Callable[["Server"], BuiltAdded], Callable[["Repository"], BuiltAdded]]:
    """Build a baseline of a training file here; return how it is handed on."""
    import msgspec

    from monitors.errors import BaselineInvalid
    from monitors.references.training import Training, from_training
    from storage.training import TrainingInvalid, open_training

    training = Training(
        asked["name"],
        asked["route"],
        path.name,
        _mapping(asked["mapped"]),
        asked["mapped_only"],
        asked["seasonal"],
    )
    try:
        with telling(f"reading {path.name}"), open_training(path) as file:
            built = from_training(file, training, source.clock.now_us())
    except (BaselineInvalid, TrainingInvalid) as error:
        raise click.UsageError(str(error)) from error
    body = {
        name: getattr(built.baseline, name)
        for name in ("name", "route", "rows", "window_from", "window_to", "cells", "source")
    }

    def whole(added: BuiltAdded) -> BuiltAdded:
        return msgspec.structs.replace(added, left_out={**built.left_out, **added.left_out})

    def ask(server: "Server") -> BuiltAdded:
        return whole(decode(server.post("/baselines/built", body), BuiltAdded))

    def read(repository: "Repository") -> BuiltAdded:
        from gateway.api.baseline_jobs import add_built

        return whole(add_built(repository, built.baseline))

    return ask, read


def _mapping(given: tuple[str, ...]) -> dict[str, str]:
    mapping = {}
    for one in given:
        # Columns may have `=` in their names, features have none.
        column, sign, feature = one.rpartition("=")
        if not sign or not column:
            raise click.UsageError(f"--map {one}: write COLUMN=FEATURE")
        mapping[column] = feature
    return mapping


def _interval(source: "Source", since: str, until: str | None) -> Interval:
    try:
        return parse_interval(since, until, source.clock.now_us())
    except TimeRefused as error:
        raise click.UsageError(str(error)) from error


def _duration_s(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise click.UsageError(f"--previous {text}: write a duration such as `7d`") from error
