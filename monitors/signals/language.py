"""Which language a text is written in: script first, then words and trigrams.

A small detector of our own: a drift monitor needs a steady answer within microseconds, not the
last percent of accuracy. Scripts are counted over the code points; languages in Latin letters
are told apart by their function words and letters, and by trigrams where a text is short.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from monitors.signals.profiles import LETTERS, TRIGRAMS, WORDS

LOOKED_AT_CHARS = 2000
"""Only the start of a text is looked at."""

OTHER = "other"
"""Enough text, in none of the languages known here."""

_LATIN_LOOKED_AT = 320
_LEAST_LETTERS = 12
_LEAST_WORDS = 3
_LEAST_IDEOGRAPHS = 4
_LEAST_SCORE = 0.12  # evidence a word below which Latin text is of no language known here
_TRIGRAMS_BELOW_WORDS = 25

_SCRIPTS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("", ()),
    ("latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF))),
    ("cyrillic", ((0x400, 0x52F),)),
    ("el", ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    ("arabic", ((0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF))),
    ("he", ((0x590, 0x5FF),)),
    ("han", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF))),
    ("kana", ((0x3040, 0x30FF), (0x31F0, 0x31FF))),
    ("ko", ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF))),
    ("hi", ((0x900, 0x97F),)),
    ("th", ((0xE00, 0xE7F),)),
    (OTHER, ((0x530, 0x58F), (0x700, 0x74F), (0x980, 0xDFF), (0xE80, 0x10FF), (0x1200, 0x1DFF))),
)
_NAMES = tuple(name for name, _ in _SCRIPTS)
Weights = dict[Hashable, int]
"""Item to its evidence for every language: one lane of a large integer for each."""

_LANES = tuple(WORDS)
_LANE_BYTES = 4
# A lane holds 4095 items of full weight, and what is looked at has fewer than 1000.
_UNIT = 1 << 20
_IDEOGRAPHIC = frozenset({"han", "kana", "ko", "th"})


def _script_table() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.zeros(0x10000, dtype=np.uint8)
    for number, (_, ranges) in enumerate(_SCRIPTS):
        for first, last in ranges:
            table[first : last + 1] = number
    table[[0xD7, 0xF7]] = 0
    return table


def _weights(lists: Mapping[str, str], factor: float) -> Weights:
    # What many languages have says little about each.
    owners: dict[str, list[str]] = {}
    for code, items in lists.items():
        for item in sorted(set(items.split())):
            owners.setdefault(item, []).append(code)
    return {item: _lanes(codes, factor * len(codes) ** -0.5) for item, codes in owners.items()}


def _lanes(codes: Sequence[str], weight: float) -> int:
    share = round(weight * _UNIT)
    return sum(share << 8 * _LANE_BYTES * _LANES.index(code) for code in codes)


def _word_bytes() -> bytes:
    # Of UTF-8, every byte of a letter that is not ASCII has the highest bit.
    kept = {*b"abcdefghijklmnopqrstuvwxyz'", *range(0x80, 0x100)}
    return bytes(code if code in kept else 0x20 for code in range(256))


_TABLE = _script_table()
_WORD_WEIGHTS = _weights(WORDS, 1.0)
_LETTER_WEIGHTS = _weights({code: " ".join(letters) for code, letters in LETTERS.items()}, 0.6)
# By tuples of characters: they are quicker to make than pieces of text.
_TRIGRAM_WEIGHTS: Weights = {
    tuple(str(item)): lanes for item, lanes in _weights(TRIGRAMS, 0.25).items()
}
_WORD_BYTES = _word_bytes()
_PUNCTUATION = "“”„«»–—…•\xa0"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CODE = re.compile(r"```.*?(?:```|\Z)|https?://\S+|[\w.+-]+@[\w-]+\.\w+", re.DOTALL)
_ACCENTED = re.compile(r"[¿¡ß-ỹ]")


def language(text: str) -> str | None:
    """Return the ISO 639-1 code of a text's language.

    Returns
    -------
    str or None
        `other` for enough text of a language not known here; None for too little text to tell
        (fewer than three words, or four ideographs).
    """
    head = (
        _CODE.sub(" ", text[:LOOKED_AT_CHARS]) if _may_have_code(text) else text[:LOOKED_AT_CHARS]
    )
    if not head.isascii():
        # English with typographic marks is as quick as English without.
        for mark in _PUNCTUATION:
            head = head.replace(mark, " ")
    if head.isascii():
        return _latin(head)
    counts = script_counts(head)
    if not counts:
        return None
    script = _main_script(counts)
    if script == "latin":
        return _latin(head)
    least = _LEAST_IDEOGRAPHS if script in _IDEOGRAPHIC else _LEAST_LETTERS
    if counts[script] < least:
        return None
    return _by_script(script, counts, head)


def script_counts(text: str) -> dict[str, int]:
    """Count the letters of each script; punctuation, digits, spaces and emoji are none."""
    codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    counts = np.bincount(_TABLE[codes], minlength=len(_NAMES))
    return {_NAMES[i]: int(counts[i]) for i in np.flatnonzero(counts) if i}


def _may_have_code(text: str) -> bool:
    return "```" in text or "://" in text or "@" in text


def _main_script(counts: dict[str, int]) -> str:
    # An ideograph says as much as some three letters, so that product names in Latin letters do
    # not turn a Chinese sentence into English.
    return max(counts, key=lambda name: counts[name] * (3 if name in _IDEOGRAPHIC else 1))


def _by_script(script: str, counts: dict[str, int], text: str) -> str:
    if script in {"han", "kana"}:
        return "ja" if counts.get("kana", 0) * 8 >= counts.get("han", 0) else "zh"
    if script == "cyrillic":
        return _cyrillic(text.lower())
    if script == "arabic":
        return _arabic(text)
    return script


def _cyrillic(text: str) -> str:
    if any(letter in text for letter in "ђћџјљњ"):
        return "sr"
    ukrainian = sum(map(text.count, "іїєґ"))
    russian = sum(map(text.count, "ыэё"))
    if ukrainian > russian:
        return "uk"
    # A hard sign is a vowel of Bulgarian, but a rarity of Russian.
    return "bg" if not russian and text.count("ъ") * 100 > len(text) else "ru"


def _arabic(text: str) -> str:
    if any(letter in text for letter in "ٹڈڑےں"):
        return "ur"
    return "fa" if any(letter in text for letter in "پچژگ") else "ar"


def _latin(text: str) -> str | None:
    lower = text[:_LATIN_LOOKED_AT].lower().replace("’", "'")
    words = _words(lower)
    if len(words) < _LEAST_WORDS or sum(map(len, words)) < _LEAST_LETTERS:
        return None
    evidence = _evidence(words, _WORD_WEIGHTS)
    if not lower.isascii():
        evidence += _evidence(_ACCENTED.findall(lower), _LETTER_WEIGHTS)
    if len(words) < _TRIGRAMS_BELOW_WORDS:
        evidence += _evidence(_trigrams(words), _TRIGRAM_WEIGHTS)
    lanes = memoryview(evidence.to_bytes(len(_LANES) * _LANE_BYTES, "little")).cast("I").tolist()
    best = max(lanes)
    return _LANES[lanes.index(best)] if best >= _LEAST_SCORE * _UNIT * len(words) else OTHER


def _words(lower: str) -> list[str]:
    """Return what `_WORD` finds, asking it only where spaces do not tell."""
    whole = lower.encode("utf-8", "surrogatepass").translate(_WORD_BYTES)
    pieces = whole.decode("utf-8", "surrogatepass").split()
    if all(map(str.isalpha, pieces)):
        return pieces
    found: list[str] = []
    for piece in pieces:
        found += (piece,) if piece.isalpha() else _WORD.findall(piece)
    return found


def _evidence(items: Iterable[Hashable], weights: Weights) -> int:
    return sum(filter(None, map(weights.get, items)))


def _trigrams(words: list[str]) -> Iterable[Hashable]:
    text = f"_{'_'.join(words)}_"
    starts = (text, text[1:], text[2:])
    return chain(zip(*starts, strict=False), zip(*starts, text[3:], strict=False))
