from router.budget import RetryBudget


def _with_active(active: int) -> RetryBudget:
    budget = RetryBudget()
    for _ in range(active):
        budget.enter()
    return budget


def test_three_repeats_are_always_allowed() -> None:
    """A single request may repeat; so may three at once, not four."""
    budget = _with_active(1)
    assert [budget.try_repeat(0.2) for _ in range(4)] == [True, True, True, False]


def test_repeats_are_a_share_of_active_requests() -> None:
    """Of 100 active requests 20 may be repeats, and refusals are counted."""
    budget = _with_active(100)
    assert sum(budget.try_repeat(0.2) for _ in range(50)) == 20
    assert budget.statistics() == (100, 20, 30)


def test_a_repeat_that_ends_makes_room() -> None:
    """Its permit goes to the next."""
    budget = _with_active(4)
    while budget.try_repeat(0.2):
        pass
    budget.leave(repeated=True)
    assert budget.try_repeat(0.2)
    assert budget.statistics() == (3, 3, 1)
