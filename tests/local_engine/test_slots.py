from hypothesis import given
from hypothesis import strategies as st

from local_engine.slots import Slots


def test_the_first_come_are_the_first_served() -> None:
    """Slots are given in the order of arrival."""
    slots: Slots[str] = Slots(2, max_waiting=2)
    assert all(slots.offer(name) for name in "abcd")
    assert [name for _, name in slots.admit()] == ["a", "b"]
    slots.release(0)
    assert slots.admit() == [(0, "c")]


def test_one_more_than_slots_and_places_is_refused() -> None:
    """The waiting line is bounded."""
    slots: Slots[int] = Slots(2, max_waiting=1)
    assert [slots.offer(i) for i in range(4)] == [True, True, True, False]
    slots.admit()
    assert (slots.busy, slots.waiting, slots.offer(9)) == (2, 1, False)


def test_who_leaves_the_line_makes_room() -> None:
    """A withdrawn item is never admitted."""
    slots: Slots[str] = Slots(1, max_waiting=1)
    slots.offer("a")
    slots.offer("b")
    assert slots.withdraw("b")
    assert not slots.withdraw("b")
    assert slots.offer("c")
    assert slots.empty() == ["a", "c"]


@given(st.lists(st.sampled_from(["offer", "admit", "release"]), max_size=80))
def test_slots_are_never_shared(actions: list[str]) -> None:
    """Whatever happens, no slot holds two and nothing is lost."""
    slots: Slots[int] = Slots(3, max_waiting=2)
    offered = released = 0
    for action in actions:
        if action == "offer":
            offered += slots.offer(offered)
        elif action == "admit":
            slots.admit()
        elif slots.running:
            slots.release(next(iter(slots.running)))
            released += 1
        assert slots.busy <= 3
        assert slots.busy + slots.waiting <= 5
        assert slots.busy + slots.waiting + released == offered
        assert len(set(slots.running.values())) == slots.busy
