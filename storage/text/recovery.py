"""What to do with text files that the registry does not know, and with those that are missing.

Usually they are left-overs of a crash. After the database was lost or set back to a backup, they
are the text itself: each file says in a note what it covers and what it replaces.
"""

from collections.abc import Mapping
from typing import NamedTuple

from storage.text.chunk import FileNote
from storage.text.registry import Mark, TextFile


class Plan(NamedTuple):
    """What to do with files, by name.

    Attributes
    ----------
    adopt : list of str
        Register them and take their coverage for archived.
    remove : list of str
        Unlink them: their rows are elsewhere, or still in the spool.
    replaced : list of str
        Registered files whose rows are in an adopted one.
    foreign : list of str
        Files that this program did not write.
    """

    adopt: list[str]
    remove: list[str]
    replaced: list[str]
    foreign: list[str]


def plan(
    notes: Mapping[str, FileNote],
    on_disk: frozenset[str],
    registered: Mapping[str, TextFile],
    marks: Mapping[str, Mark],
    *,
    has_staged: bool,
) -> Plan:
    """Decide about the files that the registry does not know.

    Parameters
    ----------
    notes : mapping of str to FileNote
        Those files.
    on_disk : frozenset of str
        All files that are there.
    registered : mapping of str to TextFile
        What the registry knows, in any state.
    marks : mapping of str to Mark
        How far the registry's text goes.
    has_staged : bool
        Whether `payloads_recent` has rows.
    """
    decided = Plan([], [], [], [])
    superseded = {name for note in notes.values() for name in note.replaces}
    followers = []
    for name, note in sorted(notes.items()):
        if name in superseded:
            decided.remove.append(name)
        elif note.anchor is not None:
            followers.append((name, note.anchor))
        elif note.replaces:
            live = [r for r in note.replaces if r in registered and registered[r].state == "live"]
            if live and on_disk.issuperset(live):
                decided.remove.append(name)
            else:
                decided.adopt.append(name)
                decided.replaced.extend(live)
        elif note.staged:
            (decided.remove if has_staged else decided.adopt).append(name)
        elif note.coverage:
            fresh = all(
                span.source not in marks
                or (span.from_segment, span.from_offset) >= marks[span.source].place
                for span in note.coverage
            )
            (decided.adopt if fresh else decided.remove).append(name)
        else:
            decided.foreign.append(name)
    for name, anchor in followers:
        whole = anchor in decided.adopt or anchor in superseded
        (decided.adopt if whole else decided.remove).append(name)
    return decided


def marks_of(notes: Mapping[str, FileNote], marks: Mapping[str, Mark]) -> dict[str, Mark]:
    """Return the marks that adopted files move on."""
    moved: dict[str, Mark] = {}
    for note in notes.values():
        for span in note.coverage:
            before = moved.get(span.source) or marks.get(span.source) or Mark(0, 0)
            place = max(before.place, (span.to_segment, span.to_offset))
            if place != before.place:
                moved[span.source] = Mark(*place)
    return moved
