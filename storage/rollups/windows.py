"""Any window: whole slots from the roll-ups, what is left at its edges from raw rows."""

from storage.log import Coverage
from storage.reader import Window
from storage.rollups.state import RollupState


def cover(state: RollupState, window: Window, *, exact: bool = False) -> Coverage:
    """Split a window into whole slots and raw edges.

    Where the facts of an edge have expired its slot is taken whole, and the covered window is
    longer than the one asked for. An exact one is shorter where facts have expired.
    """
    if exact:
        low = max(window.from_us, min(state.facts_from, window.to_us))
        raw = Window(low, window.to_us)
        return Coverage(Window(low, low), _full((raw,)), raw)
    low, high = window
    first, end = _up(state, low), _down(state, high)
    if low < first and low < state.facts_from:
        low = first = _down(state, low)
    if end < high and end < state.facts_from:
        high = end = _up(state, high)
    if first >= end:
        # Within a slot or two, with no whole one among them.
        return Coverage(Window(low, low), _full((Window(low, high),)), Window(low, high))
    edges = _full((Window(low, first), Window(end, high)))
    return Coverage(Window(first, end), edges, Window(low, high))


def _full(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    return tuple(window for window in windows if window.from_us < window.to_us)


def _down(state: RollupState, at_us: int) -> int:
    return at_us - at_us % state.grain_us(at_us)


def _up(state: RollupState, at_us: int) -> int:
    over = at_us % state.grain_us(at_us)
    return at_us if over == 0 else at_us - over + state.grain_us(at_us)
