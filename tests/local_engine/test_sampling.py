import pytest

from local_engine.errors import InvalidParameter
from local_engine.sampling import Sampling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("top_k", 2**31),
        ("min_p", float("inf")),
        ("repeat_penalty", 0.0),
        ("frequency_penalty", 3.0),
        ("presence_penalty", -3.0),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_values_out_of_range_never_reach_c(name: str, value: float) -> None:
    """Each is refused by its name."""
    with pytest.raises(InvalidParameter, match=f"`{name}`") as caught:
        Sampling(**{name: value})  # type: ignore[arg-type]  # The values are the test.
    assert caught.value.param == name


def test_neutral_penalties_cost_nothing() -> None:
    """The penalty link is only made when it would change something."""
    assert not Sampling().penalises
    assert Sampling(repeat_penalty=1.1).penalises
