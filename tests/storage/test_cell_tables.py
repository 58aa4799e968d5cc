from pathlib import Path

from support.empty_log import open_empty_log
from support.log_records import end_of, signals_of

from storage.cell_tables import Asked, CellForm, slot_counts
from storage.reader import Window
from storage.repository import Repository
from storage.rollups.state import SLOT_US
from storage.writer import Batch

AT = 1_790_000_000_000_000 // SLOT_US * SLOT_US


def test_a_window_of_centuries_has_no_slots_without_rows_but_those_that_begin_a_gap(
    tmp_path: Path,
) -> None:
    """The first of the window, each with rows, the one behind it."""
    database = open_empty_log(tmp_path)
    times = [AT + 1, AT + 2, AT + 7 * SLOT_US]
    ends = [end_of(number, text=False, started_at=at) for number, at in enumerate(times)]
    repository = Repository(database)
    repository.append(Batch(ends, signals_of(ends), (), (), ()), now_us=AT)
    asked = Asked(Window(0, 100 * AT), "chat", "error", CellForm(3, top=("false",)))
    with repository.snapshot() as log:
        found = slot_counts(log.connection, asked)
    assert found.starts.tolist() == [0, AT, AT + SLOT_US, AT + 7 * SLOT_US, AT + 8 * SLOT_US]
    assert found.counts.sum(axis=1).tolist() == [0, 2, 0, 1, 0]
    database.close()
