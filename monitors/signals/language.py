"""Which language a text is written in: script first, then words and trigrams.

A small detector of our own: a drift monitor needs a steady answer within microseconds, not the
last percent of accuracy. Scripts are counted over the code points; languages in Latin letters
are told apart by their function words and letters, and by trigrams where a text is short.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

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
Weights = Mapping[str, tuple[tuple[str, float], ...]]
"""Item to the languages that have it, with the weight of the evidence."""

_IDEOGRAPHIC = frozenset({"han", "kana", "ko", "th"})


def _script_table() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.zeros(0x10000, dtype=np.uint8)
    for number, (_, ranges) in enumerate(_SCRIPTS):
        for first, last in ranges:
            table[first : last + 1] = number
    table[[0xD7, 0xF7]] = 0
    return table


def _weights(lists: Mapping[str, str]) -> Weights:
    # What many languages have says little about each.
    owners: dict[str, list[str]] = {}
    for code, items in lists.items():
        for item in sorted(set(items.split())):
            owners.setdefault(item, []).append(code)
    return MappingProxyType(
        {
            item: tuple((code, len(codes) ** -0.5) for code in codes)
            for item, codes in owners.items()
        }
    )


_TABLE = _script_table()
_WORD_WEIGHTS = _weights(WORDS)
_LETTER_WEIGHTS = _weights({code: " ".join(letters) for code, letters in LETTERS.items()})
_TRIGRAM_WEIGHTS = _weights(TRIGRAMS)
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
    words = _WORD.findall(lower)
    if len(words) < _LEAST_WORDS or sum(map(len, words)) < _LEAST_LETTERS:
        return None
    scores: dict[str, float] = dict.fromkeys(WORDS, 0.0)
    _add(scores, words, _WORD_WEIGHTS, 1.0)
    if not lower.isascii():
        _add(scores, _ACCENTED.findall(lower), _LETTER_WEIGHTS, 0.6)
    if len(words) < _TRIGRAMS_BELOW_WORDS:
        _add(scores, _trigrams(words), _TRIGRAM_WEIGHTS, 0.25)
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= _LEAST_SCORE * len(words) else OTHER


def _add(scores: dict[str, float], items: list[str], weights: Weights, factor: float) -> None:
    for item in items:
        for code, share in weights.get(item, ()):
            scores[code] += factor * share


def _trigrams(words: list[str]) -> list[str]:
    text = f"_{'_'.join(words)}_"
    return [text[i : i + size] for size in (3, 4) for i in range(len(text) - size + 1)]
