import json

import pytest

from monitors.signals.repetition import is_repeated

START = "Once upon a time there was a model that answered every question at some length. "
PROSE = " ".join(f"Sentence {n} says {n * 7919 % 1009} things about {n % 13}." for n in range(60))
LONG = "I should think about this once more before I give an answer to what you have asked me, " * 2


@pytest.mark.parametrize(
    "answer",
    [
        "!" * 128,
        START + "no " * 60,
        START + "I am sorry, I said that. " * 8 + "  \n",
        START + LONG * 5,
        PROSE + "the the the " * 20,
        "0, " * 400 + PROSE[:600],
        START + "我不知道该说什么。" * 40,
    ],
    ids=range(7),
)
def test_a_loop_is_found(answer: str) -> None:
    """Single characters, words and sentences over and over, at the end or halfway."""
    assert is_repeated(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " " * 500,
        "ha " * 30,
        PROSE,
        START * 3,
        json.dumps([{"id": n, "name": f"n{n}", "kind": "fruit", "price": None} for n in range(50)]),
        "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | the same |" for n in range(40)),
        "def f():\n" + "\n".join(f"    x{n} = compute(first, second, third)" for n in range(30)),
    ],
    ids=range(8),
)
def test_what_only_looks_alike_is_no_loop(answer: str) -> None:
    """Laughter, tables, rows of JSON and code differ somewhere, or end soon."""
    assert not is_repeated(answer)
