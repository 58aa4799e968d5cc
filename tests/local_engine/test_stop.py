from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from local_engine.stop import TextAssembler, first_stop

_TEXTS = st.text(alphabet="abcé€😀 \n", max_size=60)
_STOPS = st.lists(st.text(alphabet="abcé€", min_size=1, max_size=4), max_size=3).map(tuple)


def _pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(raw) + 1) for cut in cuts} | {0, len(raw)})
    return [raw[a:b] for a, b in pairwise(places)]


@given(_TEXTS, _STOPS, st.lists(st.integers(0, 500), max_size=30))
def test_text_ends_at_the_first_stop_however_it_is_cut(
    text: str, stops: tuple[str, ...], cuts: list[int]
) -> None:
    """Token borders, inside characters and stop strings, change nothing."""
    assembler = TextAssembler(stops)
    shown = ""
    for piece in _pieces(text.encode(), cuts):
        shown += assembler.feed(piece)
        if assembler.stopped:
            break
    shown += assembler.finish()
    at = first_stop(text, stops)
    assert shown == (text if at < 0 else text[:at])
    assert assembler.stopped == (at >= 0)


@given(_TEXTS, _STOPS)
def test_no_more_is_held_back_than_a_stop_string_can_take(
    text: str, stops: tuple[str, ...]
) -> None:
    """What is not shown yet is shorter than the longest stop string, and is one's beginning."""
    assembler = TextAssembler(stops)
    shown = ""
    for length, character in enumerate(text, start=1):
        shown += assembler.feed(character.encode())
        if assembler.stopped:
            break
        held = text[len(shown) : length]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def test_text_without_stops_is_not_held_back() -> None:
    """A whole character is shown at once."""
    assembler = TextAssembler()
    assert assembler.feed(b"abc") == "abc"
    assert assembler.feed("€".encode()[:2]) == ""
    assert assembler.feed("€".encode()[2:]) == "€"


def test_a_partial_stop_is_shown_at_the_end() -> None:
    """What looked like a stop string and was none is text."""
    assembler = TextAssembler(("END",))
    assert assembler.feed(b"the EN") == "the "
    assert assembler.finish() == "EN"
    assert not assembler.stopped


def test_a_half_character_at_the_end_is_marked() -> None:
    """Bytes that never became a character are U+FFFD."""
    assembler = TextAssembler()
    assert assembler.feed("a😀".encode()[:3]) == "a"
    assert assembler.finish() == "\ufffd"
