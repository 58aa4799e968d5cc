from hypothesis import given
from hypothesis import strategies as st

from local_engine.batching import Need, Share, plan_batch

_NEEDS = st.lists(
    st.tuples(st.integers(1, 400), st.booleans()).map(
        lambda pair: (1, True) if pair[1] else (pair[0], False)
    ),
    max_size=8,
).map(lambda pairs: [Need(slot, *pair) for slot, pair in enumerate(pairs)])


def test_running_answers_come_before_prompts() -> None:
    """A long prompt that came first takes only what the running ones leave."""
    plan = plan_batch([Need(0, 500, False), Need(1, 1, True), Need(2, 1, True)], capacity=64)
    assert plan == [Share(1, 1, True), Share(2, 1, True), Share(0, 62, False)]


def test_prompts_share_what_is_left_in_their_order() -> None:
    """A prompt that fits is finished before the next begins."""
    plan = plan_batch([Need(0, 40, False), Need(1, 40, False)], capacity=64)
    assert plan == [Share(0, 40, True), Share(1, 24, False)]


@given(_NEEDS, st.integers(8, 128))
def test_every_running_answer_moves_and_the_batch_is_bounded(
    needs: list[Need], capacity: int
) -> None:
    """No plan overfills a batch, starves a stream, or asks for an output too early."""
    plan = plan_batch(needs, capacity=capacity)
    by_slot = {need.slot: need for need in needs}
    assert sum(share.tokens for share in plan) <= capacity
    assert {need.slot for need in needs if need.generating} <= {share.slot for share in plan}
    assert all(share.output == (share.tokens == by_slot[share.slot][1]) for share in plan)
    assert bool(plan) == bool(needs)
