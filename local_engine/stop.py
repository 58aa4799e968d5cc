"""Text out of token pieces: whole characters only, and never a part of a stop string."""

import codecs


class TextAssembler:
    """Turns the bytes of tokens into text that may be shown.

    A character may be spread over several tokens, and so may a stop string: both are held back
    until it is certain what they are. Bytes that are no UTF-8 become U+FFFD.

    Parameters
    ----------
    stops : sequence of str
        Non-empty strings; the first to appear ends the text and is not part of it. When two
        begin at the same place the longer one wins nothing: what is cut is the same.
    """

    __slots__ = ("_decoder", "_held", "_stops", "stopped")

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Return the text that a piece makes certain; sets `stopped` when a stop string is met."""
        return self._take(self._decoder.decode(piece))

    def finish(self) -> str:
        """Return what was held back, now that nothing follows."""
        text = self._take(self._decoder.decode(b"", final=True))
        if self.stopped:
            return text
        text += self._held
        self._held = ""
        return text

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        cut = first_stop(text, self._stops)
        if cut >= 0:
            self.stopped = True
            self._held = ""
            return text[:cut]
        keep = held_length(text, self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def first_stop(text: str, stops: tuple[str, ...]) -> int:
    """Return where the earliest stop string begins in `text`, -1 if none does."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return min(found, default=-1)


def held_length(text: str, stops: tuple[str, ...]) -> int:
    """Return the length of the longest end of `text` that begins a stop string."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
