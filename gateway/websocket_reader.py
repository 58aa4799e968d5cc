"""Reads the messages of a WebSocket beside its relay (RFC 6455): it never changes a byte."""

import zlib

from gateway.tap import header_value
from router.upstream import Headers

MESSAGE_BYTES = 1_048_576
"""Longer messages are passed over."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
_KNOWN = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, 9, 10})
_FIN, _COMPRESSED, _RESERVED, _MASKED = 0x80, 0x40, 0x30, 0x80
_CONTROL_BYTES = 125
_LENGTH_BYTES = {126: 2, 127: 8}
_TAIL = b"\x00\x00\xff\xff"  # left out at the end of each message (RFC 7692 §7.2.1)


class MessageReader:
    """Cuts what a server sends into text messages.

    Whatever it cannot read ends the reading, never the relay.

    Parameters
    ----------
    max_bytes : int
        Of a message, at most; of a compressed one also once inflated.
    deflate : bool
        `permessage-deflate` was agreed on (RFC 7692).
    keeps_window : bool
        The server compresses a message with the ones before it in mind.

    Attributes
    ----------
    lost : bool
        Something was no frame that can be read: nothing is read any more.
    closed : bool
        The server said that it closes.
    """

    __slots__ = (
        "_begun",
        "_compressed",
        "_deflate",
        "_fin",
        "_head",
        "_in_frame",
        "_inflater",
        "_keeps_window",
        "_kept",
        "_left",
        "_max_bytes",
        "_opcode",
        "_text",
        "closed",
        "lost",
    )

    def __init__(
        self,
        max_bytes: int = MESSAGE_BYTES,
        *,
        deflate: bool = False,
        keeps_window: bool = True,
    ) -> None:
        self.lost = False
        self.closed = False
        self._max_bytes = max_bytes
        self._deflate = deflate
        self._keeps_window = keeps_window
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._head = bytearray()
        self._in_frame = False
        self._fin = True
        self._opcode = 0
        self._left = 0
        self._begun = False
        self._text = False
        self._compressed = False
        self._kept: bytearray | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Return the text messages that are complete with these bytes."""
        messages: list[bytes] = []
        at, size = 0, len(data)
        while not self.lost:
            if not self._in_frame:
                at = self._read_head(data, at)
                if not self._in_frame:
                    break
            taken = min(self._left, size - at)
            if taken and self._opcode < _CLOSE and self._kept is not None:
                self._keep(data[at : at + taken])
            at += taken
            self._left -= taken
            if self._left:
                break
            self._in_frame = False
            if self._opcode < _CLOSE and self._fin:
                self._end_message(messages)
        return messages

    def _read_head(self, data: bytes, at: int) -> int:
        """Take a frame's head as far as it is there; return where what follows begins."""
        head = self._head
        while (missing := _head_bytes(head) - len(head)) > 0:
            piece = data[at : at + missing]
            if not piece:
                return at
            head += piece
            at += len(piece)
        first, second = head[0], head[1]
        length = second & 0x7F if len(head) == 2 else int.from_bytes(head[2:], "big")
        head.clear()
        if second & _MASKED or not self._begins(first, length):
            self.lost = True
        else:
            self._in_frame = True
            self._left = length
        return at

    def _begins(self, first: int, length: int) -> bool:
        """Take the first byte of a frame; False if there can be no such frame here."""
        opcode, fin, compressed = first & 0x0F, bool(first & _FIN), bool(first & _COMPRESSED)
        if first & _RESERVED or opcode not in _KNOWN:
            return False
        self._opcode, self._fin = opcode, fin
        if opcode >= _CLOSE:
            self.closed = self.closed or opcode == _CLOSE
            return fin and not compressed and length <= _CONTROL_BYTES
        if opcode == _CONTINUATION:
            return self._begun and not compressed
        if self._begun or (compressed and not self._deflate):
            return False
        self._begun = True
        self._text, self._compressed = opcode == _TEXT, compressed
        # The window of what follows may reach into a message that nobody reads.
        self._kept = bytearray() if self._text or compressed else None
        return True

    def _keep(self, piece: bytes) -> None:
        kept = self._kept
        assert kept is not None
        room = self._max_bytes - len(kept)
        if not self._compressed:
            if len(piece) > room:
                self._kept = None
            else:
                kept += piece
            return
        if self._inflater.eof:
            return  # It would gather for ever what follows a last block (RFC 7692 §7.2.3.4).
        try:
            kept += self._inflater.decompress(piece, room + 1)
        except zlib.error:
            self.lost = True
        if len(kept) > self._max_bytes:
            self.lost = True

    def _end_message(self, messages: list[bytes]) -> None:
        if self._compressed:
            self._keep(_TAIL)
            if not self._keeps_window or self._inflater.eof:
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun = False
        kept, self._kept = self._kept, None
        if self._text and kept is not None and not self.lost:
            messages.append(bytes(kept))


def reader_of(headers: Headers) -> MessageReader | None:
    """Return a reader of what a server sends after its 101; None if it speaks an extension."""
    extensions = header_value(headers, b"sec-websocket-extensions").lower()
    if not extensions.strip():
        return MessageReader()
    name, *parameters = (part.strip() for part in extensions.split(b";"))
    if name != b"permessage-deflate" or b"," in extensions:
        return None
    return MessageReader(deflate=True, keeps_window=b"server_no_context_takeover" not in parameters)


def _head_bytes(head: bytearray) -> int:
    """Return the length of a head of which this is the beginning."""
    return 2 if len(head) < 2 else 2 + _LENGTH_BYTES.get(head[1] & 0x7F, 0)
