import msgspec
import numpy as np

from monitors.endings import ended
from monitors.explain.state import DriftQuery, Known, drift_state, says_something
from monitors.explain.text import Terminal, render_state
from monitors.options import DEFAULTS
from monitors.streams import RouteStreams, Stream, stored
from monitors.windows import Window
from stats.cells import NumericCells
from stats.detector import begin
from storage.records import Baseline, Verdict

CELLS = NumericCells.from_dict(
    {
        "kind": "numeric",
        "edges": [0.0, 1.0],
        **dict.fromkeys(("median", "std", "iqr", "low", "high", "winsor_low", "winsor_high"), 1.0),
    }
)
LATER = 600_000_000


def verdict(**details: object) -> Verdict:
    """Return the word on a segment that was told against an older baseline."""
    return Verdict(
        id="v",
        at=300_000_000,
        monitor="drift",
        route="chat",
        feature="latency_s",
        kind="numeric",
        verdict="ok",
        severity="none",
        statistic="psi",
        value=0.1,
        low=0.0,
        high=0.2,
        threshold=0.1,
        n_reference=500,
        n_current=500,
        window_from=0,
        window_to=300_000_000,
        baseline="old@1",
        details=details,
        segment="variant=a",
    )


def known(told: Verdict) -> Known:
    """Return a detector that began anew from a later baseline, beside an older verdict."""
    followed = Stream(begin(CELLS, np.array([10, 10, 10, 0, 0])), log_evidence=0.5)
    streams = RouteStreams(("new@1", 1), 7, {("variant=a", "latency_s"): followed})
    head = Baseline(
        name="new",
        version=1,
        created_at=1,
        window_from=0,
        window_to=1,
        route="chat",
        rows=30,
        cells={},
    )
    return Known([told], stored("chat", streams, LATER), [head])


def test_a_segment_whose_episode_is_over_is_shown_by_its_detector() -> None:
    """Its last word was about another baseline; while it is held the word stands."""
    query = DriftQuery(Window(0, LATER))
    over = drift_state(known(verdict(open=False)), query, DEFAULTS, LATER).streams
    assert [(one.verdict, one.baseline) for one in over] == [("watched", "new@1")]
    held = verdict(open=True)
    kept = drift_state(known(held), query, DEFAULTS, LATER).streams
    assert [(one.verdict, one.baseline) for one in kept] == [("ok", "old@1")]
    whole = drift_state(
        known(msgspec.structs.replace(verdict(), segment="")), query, DEFAULTS, LATER
    ).streams
    assert len(whole) == 2


def test_what_shows_nothing_is_told_in_a_sentence() -> None:
    """Quiet segments, and signals that the baseline lacks, are counted below the table."""
    whole = msgspec.structs.replace(verdict(cause="the median went from 1 to 2"), segment="")
    lacking = msgspec.structs.replace(
        whole, feature="refusal", value=None, n_reference=0, verdict="not_enough_data"
    )
    past = known(verdict(open=False))
    query = DriftQuery(Window(0, LATER))
    state = drift_state(past._replace(verdicts=[whole, lacking]), query, DEFAULTS, LATER)
    assert len(state.streams) == 3
    table, _, notes = render_state(state, Terminal(200)).partition("note: ")
    assert "latency_s" in table
    assert not {"variant=a", "refusal", "median"} & set(table.split())
    assert "1 quiet streams of variant=a are not listed" in notes
    assert "`old@1` of route `chat` has nothing of refusal: not compared" in notes
    alone = drift_state(past._replace(verdicts=[]), query, DEFAULTS, LATER)
    assert "variant=a" in render_state(alone, Terminal(200))


def test_stale_streams_say_nothing() -> None:
    """Streams without rows are no answer: `monitor drift` ends with 3, as without streams."""
    stale = msgspec.structs.replace(verdict(), segment="", value=None, verdict="stale", n_current=0)
    query = DriftQuery(Window(0, LATER))
    alone = drift_state(Known([stale], [], []), query, DEFAULTS, LATER)
    assert (len(alone.streams), says_something(alone)) == (1, False)
    figure = drift_state(Known([verdict()], [], []), query, DEFAULTS, LATER)
    assert says_something(figure)
    watched = drift_state(known(verdict(open=False)), query, DEFAULTS, LATER)
    assert says_something(watched)


def test_what_is_compared_no_more_says_why() -> None:
    """A feature that a new baseline lacks has an end, not too few rows."""
    gone = ended(verdict(), Window(0, LATER), "the baseline is `new@1` now")
    none = Known([msgspec.structs.replace(gone, segment="")], [], [])
    (state,) = drift_state(none, DriftQuery(Window(0, LATER)), DEFAULTS, LATER).streams
    assert state.cause == "compared no more: the baseline is `new@1` now"
