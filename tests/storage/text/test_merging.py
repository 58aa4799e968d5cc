import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.log_records import NOW, SECOND
from support.text_log import TextLog, answers, with_text

from storage.text.chunk import Span, merged_spans
from storage.text.layout import day_of
from storage.text.merging import DAILY, HOURLY, MERGE_TEXT_BYTES, next_group
from storage.text.registry import TextFile
from storage.times import DAY_US, HOUR_US

HOUR = HOUR_US
NOON = NOW // DAY_US * DAY_US + 12 * HOUR


def file(number: int, at_us: int, *, level: int = 0, text_bytes: int = 100) -> TextFile:
    """Return a live file that was written right after its only row."""
    name = f"day={day_of(at_us)}/t{number:06d}.parquet"
    return TextFile(name, 1, 50, text_bytes, at_us, at_us, level, changed_at=at_us)


def test_hours_that_are_over_are_merged() -> None:
    """Files of the running hour wait, a single file stays."""
    old = [file(number, NOON - HOUR + number) for number in range(3)]
    new = [file(number, NOON + number) for number in range(3, 6)]
    assert next_group([*new, *old], NOON + 60) == (old, HOURLY)
    assert next_group([*old[:1], *new], NOON + 60) is None
    assert next_group([], NOON) is None


def test_days_that_are_over_are_merged_again() -> None:
    """Hourly files and stragglers of yesterday become one, an hour after midnight."""
    hourly = [file(number, NOON + number, level=HOURLY) for number in range(2)]
    straggler = file(9, NOON + 5)
    midnight = NOON + 12 * HOUR
    assert next_group([*hourly, straggler], midnight + HOUR - 1) is None
    assert next_group([*hourly, straggler], midnight + HOUR) == ([*hourly, straggler], DAILY)
    assert next_group([file(1, NOON, level=DAILY)], midnight + HOUR) is None


def test_files_of_older_programs_stay() -> None:
    """They have another form, and age out."""
    old = [file(n, NOON)._replace(file=f"day={day_of(NOON)}/{n}.parquet") for n in range(3)]
    assert next_group(old, NOON + 48 * HOUR) is None


@given(st.lists(st.integers(1, MERGE_TEXT_BYTES), max_size=12))
def test_a_merged_file_has_bounds_and_merging_ends(sizes: list[int]) -> None:
    """Groups never exceed the limit, and every merge leaves fewer files to merge."""
    files = [file(n, NOON - HOUR + n, text_bytes=size) for n, size in enumerate(sizes)]
    turns = 0
    while (group := next_group(files, NOON)) is not None:
        turns += 1
        total = sum(one.text_bytes for one in group.files)
        assert total <= MERGE_TEXT_BYTES
        merged = file(100 + turns, group.files[0].first_at, level=group.level, text_bytes=total)
        files = [one for one in files if one not in group.files] + [merged]
        assert turns <= len(sizes)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True))
def test_neighbouring_stretches_are_one(borders: list[int]) -> None:
    """Whatever the order of the pieces, a stretch without holes is one span."""
    ordered = sorted({0, *borders})
    pieces = [Span("w", *divmod(start, 10), *divmod(end, 10)) for start, end in pairwise(ordered)]
    pieces.sort(key=lambda span: (span.to_offset, span.from_segment))
    joined = merged_spans([*pieces, Span("x", 0, 0, 1, 0)])
    assert joined[1:] == (Span("x", 0, 0, 1, 0),) or not pieces
    if pieces:
        assert joined[0] == Span("w", 0, 0, *divmod(ordered[-1], 10))


def test_an_hour_then_a_day_become_one_file(log: TextLog) -> None:
    """The same rows at every level; the inputs stay for slow readers and are then unlinked."""
    for number in range(4):
        log.at_us = NOON + number // 2 * HOUR
        log.log(number, started_at=log.at_us)
        log.flush()
    log.at_us = NOON + 2 * HOUR
    assert log.archive.step().merged == 4
    assert [one.level for one in log.files()] == [HOURLY]
    assert len(log.on_disk()) == 5
    log.log(4, started_at=NOON + 1)
    log.flush()
    log.at_us = NOON + 13 * HOUR
    assert log.archive.step().merged == 2
    assert [(one.level, one.rows) for one in log.files()] == [(DAILY, 5)]
    log.at_us += 121 * SECOND
    log.archive.step()
    assert len(log.on_disk()) == 1
    assert log.responses() == answers(*range(5))


def test_a_growing_chat_is_stored_once(log: TextLog) -> None:
    """Five requests of a chat, each with all before it, take little more than the last."""
    messages = [
        {"role": "user", "content": f"{n}: " + " ".join(map(str, range(n * 997, n * 997 + 300)))}
        for n in range(20)
    ]
    for number in range(5):
        body = json.dumps({"model": "m", "messages": messages[: 4 * number + 4]})
        log.write([with_text(number, body, "yes")])
        log.ingest()
        log.flush()
    single = log.files()[-1].bytes
    whole = sum(one.bytes for one in log.files())
    log.at_us += 3600 * SECOND
    log.archive.step()
    (merged,) = log.files()
    assert merged.bytes < 1.3 * single < whole / 2


def test_a_damaged_input_is_set_aside(log: TextLog) -> None:
    """Merging goes on without it, and what it held is counted as lost."""
    for number in range(3):
        log.log(number)
        log.flush()
    path = log.data_dir / "payloads" / log.files()[1].file
    size = path.stat().st_size
    path.write_bytes(b"x" * size)
    log.at_us += 3600 * SECOND
    while log.archive.step().more:
        pass
    assert log.responses() == answers(0, 2)
    assert log.losses() == [("text", 1)]
    assert [(one.level, one.rows) for one in log.files()] == [(HOURLY, 2)]


@pytest.mark.parametrize("number", [1, 2])
def test_merged_text_is_forgotten_too(log: TextLog, number: int) -> None:
    """Merged files are rewritten, and inputs that are kept for slow readers go at once."""
    for each in range(3):
        log.log(each)
        log.flush()
    log.at_us += 3600 * SECOND
    log.archive.step()
    assert log.archive.forget([str(log_id(number))]) == 1
    assert len(log.on_disk()) == 1
    assert log.responses() == answers(*({0, 1, 2} - {number}))


def log_id(number: int) -> str:
    """Return the id of a numbered record."""
    return with_text(number, "", "").prediction.id
