"""Which files become one: those of an hour that is over, then those of a day that is over."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from storage.text.layout import day_of, is_old_form
from storage.text.registry import TextFile
from storage.times import HOUR_US

HOURLY, DAILY = 1, 2
MERGE_TEXT_BYTES = 192 << 20
"""A merged file holds no more text than this, so that merging has bounds."""


class Group(NamedTuple):
    """Files of one day that are to be merged."""

    files: list[TextFile]
    level: int


def next_group(files: Sequence[TextFile], now_us: int) -> Group | None:
    """Return the next files to be merged, or None.

    Parameters
    ----------
    files : sequence of TextFile
        The live ones.
    """
    hour_us = now_us // HOUR_US * HOUR_US
    over = day_of(now_us - HOUR_US)
    for day, of_day in groupby(sorted(files), key=attrgetter("day")):
        level = DAILY if day < over else HOURLY
        ready = [
            one
            for one in of_day
            if one.level < level
            and not is_old_form(one.file)
            and (level == DAILY or one.changed_at < hour_us)
        ]
        group = _first_group(ready)
        if group:
            return Group(group, level)
    return None


def _first_group(files: list[TextFile]) -> list[TextFile]:
    group: list[TextFile] = []
    size = 0
    for one in sorted(files, key=attrgetter("first_at", "file")):
        if size + one.text_bytes > MERGE_TEXT_BYTES:
            if len(group) > 1:
                break
            group, size = [], 0
        group.append(one)
        size += one.text_bytes
    return group if len(group) > 1 else []
