"""Reads answers beside the relay: is it one, has it content, how did it end, what did it use.

A tap judges by protocol, not by status alone: model servers answer 200 to their own failures.
It implements `router.outcome.Tap`; the facts it gathers go into the record.
"""

import zlib

import msgspec

from gateway.protocols.coding import READABLE, Inflater, TooLargeError, coding_of, inflate
from gateway.protocols.facts import Facts
from gateway.protocols.protocol import AnswerError, AnswerInvalid, EventReader, Operation
from gateway.retry_after import retry_after_s
from gateway.sse import EventSplitter, EventTooLongError
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

ERROR_BYTES = 65_536
"""Kept of a refusal, however little is kept of answers: it is held whole and judged."""

UNREADABLE = (
    AnswerInvalid,
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    TooLargeError,
    zlib.error,
)
"""What reading an answer that is none raises."""

_EVENT_STREAM = "text/event-stream"


class BaseTap:
    """What every tap does: judge the head, keep a bounded copy of the body for the record.

    Parameters
    ----------
    operation : Operation
    keep_bytes : int
        Of the body, at most.
    forwards_credentials : bool
        The upstream saw the client's key, so its 401 and 403 are the client's.

    Attributes
    ----------
    done : bool
        The answer's own end mark was read; whatever follows is dropped.
    coding : bytes
        Content coding of the answer, b"" for none; it passes as it is.
    bodiless : bool
        The answer to a HEAD: it says how long a body would be, and has none.
    """

    stream = False
    done = False
    content_events = 0
    status = 0
    content_type = ""
    coding = b""
    received_bytes = 0
    truncated = False
    bodiless = False
    _kept_bytes = 0

    def __init__(
        self, operation: Operation, keep_bytes: int, *, forwards_credentials: bool = False
    ) -> None:
        self.operation = operation
        self.keep_bytes = keep_bytes
        self.forwards_credentials = forwards_credentials
        self.facts = Facts()
        self.headers: Headers = []
        self._ready: list[bytes] = []
        self._kept: list[bytes] = []

    def head(self, status: int, headers: Headers) -> None:
        """Judge status and headers.

        Raises
        ------
        UpstreamFault
            Anything but a success or the caller's own error.
        """
        self.status = status
        self.headers = headers
        for name, value in headers:
            size = len(name)
            if size == 12 and name.lower() == b"content-type" and not self.content_type:
                self.content_type = value.decode("latin-1").lower()
            elif size == 16 and name.lower() == b"content-encoding":
                # Two fields are a list (RFC 9110 §5.3): coded twice, which is not looked into.
                self.coding = b", ".join(filter(None, (self.coding, coding_of(value))))
        if 200 <= status < 300:
            return
        reason = self._fault_of_status(status)
        if reason is not None:
            raise UpstreamFault(
                f"the upstream answered {status}",
                reason=reason,
                status=status,
                retry_after_s=retry_after_s(header_value(headers, b"retry-after")),
            )

    @property
    def is_client_error(self) -> bool:
        """Say whether the upstream refused the request itself."""
        return 400 <= self.status < 500

    def take(self) -> bytes:
        """Return the bytes of a stream that may go to the client now."""
        ready = self._ready
        if len(ready) == 1:
            return ready.pop()
        self._ready = []
        return b"".join(ready)

    @property
    def body(self) -> bytes:
        """Return what was kept of the body, as it came."""
        return self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)

    @property
    def text(self) -> bytes:
        """Return what was kept of the body, its content coding undone: for the record."""
        if self.coding not in READABLE:
            return self.body
        try:
            # What was kept may be a part of it.
            return Inflater(self.coding, max(self.keep_bytes, ERROR_BYTES)).feed(self.body)
        except (TooLargeError, zlib.error):
            return self.body

    def refusal(self) -> bytes | None:
        """Return what replaces a refusal that clients would not understand; None keeps it."""
        protocol = self.operation.protocol
        if self.bodiless:
            return None
        # What was cut is no error that anyone could read, and a coded one would not end.
        if not self.truncated and (
            (self.coding and self.coding not in READABLE) or protocol.is_error(self.text)
        ):
            return None
        return protocol.error_body(
            f"The upstream refused the request with status {self.status}.",
            type_="invalid_request_error",
            code=Reason.UPSTREAM_REJECTED,
            param=None,
        )

    def last_words(self, message: str, code: str) -> bytes | None:  # noqa: ARG002 - of streams
        """Return what tells a client that its stream failed; None: only a cut can tell."""
        return None

    def _keep(self, chunk: bytes) -> None:
        self.received_bytes += len(chunk)
        room = self.keep_bytes - self._kept_bytes
        if len(chunk) > room:
            self.truncated = True
            chunk = chunk[:room]
        if chunk:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)

    def _fault_of_status(self, status: int) -> Reason | None:
        """Classify a status that is no success; None passes (4xx that are the caller's)."""
        if status == 429:
            return Reason.UPSTREAM_LIMITED
        if status == 408:
            return Reason.UPSTREAM_TIMEOUT
        if status in {401, 403} and not self.forwards_credentials:
            return Reason.UPSTREAM_AUTH
        if 400 <= status < 500:
            return None
        return Reason.UPSTREAM_ERROR if status >= 500 else Reason.UPSTREAM_INVALID

    def _invalid(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.UPSTREAM_INVALID, status=self.status)

    def _failed(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.UPSTREAM_ERROR, status=self.status)


class PlainTap(BaseTap):
    """An answer held until it is complete and valid."""

    def feed(self, chunk: bytes) -> bool:
        """Keep a chunk; a plain answer commits only when complete."""
        self._keep(chunk)
        return False

    def end(self) -> None:
        """Judge the whole body; a caller's error passes whatever its body is."""
        if self.is_client_error:
            return
        self.content_events = 1
        if self.truncated:
            raise self._invalid(f"the answer is longer than {self.keep_bytes} bytes")
        read = self.operation.answer
        if read is None or (self.coding and self.coding not in READABLE):
            return
        try:
            body = self.body
            if self.coding:
                body = inflate(body, self.coding, self.keep_bytes)
            read(body, self.facts)
        except AnswerError as error:
            raise self._failed(str(error)) from error
        except UNREADABLE as error:
            raise self._invalid(f"the answer is not JSON of its kind: {error}") from error


class PassTap(BaseTap):
    """An answer relayed as it comes; readers only look on, and find what they can.

    Parameters
    ----------
    event_bytes : int
        A longer event ends the looking on.
    """

    stream = True
    _reader: EventReader | None = None
    _inflater: Inflater | None = None

    def __init__(
        self,
        operation: Operation,
        keep_bytes: int,
        *,
        look_bytes: int = 0,
        event_bytes: int = 1_048_576,
        forwards_credentials: bool = False,
    ) -> None:
        super().__init__(operation, keep_bytes, forwards_credentials=forwards_credentials)
        self._look_bytes = look_bytes
        self._event_bytes = event_bytes

    def head(self, status: int, headers: Headers) -> None:
        """Judge the head; a refusal is held until it is complete."""
        super().head(status, headers)
        if self.is_client_error:
            self.stream = False
            self.keep_bytes = max(self.keep_bytes, ERROR_BYTES)
            return
        if self.coding and self.coding not in READABLE:
            return
        operation = self.operation
        if operation.events is not None and self.content_type.startswith(_EVENT_STREAM):
            self._reader = operation.events()
            self._splitter = EventSplitter(self._event_bytes)
            if self.coding:
                self._inflater = Inflater(self.coding, self._look_bytes)
        elif operation.answer is not None and "json" in self.content_type:
            # What was used stands at the end: all of it must be there to be read.
            self.keep_bytes = max(self.keep_bytes, self._look_bytes)

    def feed(self, chunk: bytes) -> bool:
        """Commit with the first byte."""
        self._keep(chunk)
        if not self.stream:
            return False
        self._ready.append(chunk)
        self.content_events += 1
        if self._reader is not None:
            self._look(chunk, self._reader)
        return True

    def end(self) -> None:
        """Accept any complete body."""
        read = self.operation.answer
        if read is None or self._reader is not None or self.truncated or not self._kept:
            return
        if self.status < 300 and "json" in self.content_type:
            try:
                read(self.text, self.facts)
            except (AnswerError, *UNREADABLE):
                return

    def _look(self, chunk: bytes, reader: EventReader) -> None:
        """Read events for their facts; one that cannot be read ends the reading."""
        try:
            if self._inflater is not None:
                chunk = self._inflater.feed(chunk)
            for event in self._splitter.feed(chunk):
                reader.read(event, self.facts)
        except (AnswerError, EventTooLongError, *UNREADABLE):
            self._reader = None

    def _fault_of_status(self, status: int) -> Reason | None:
        if status == 304 or (status == 101 and self.operation.upgrade):
            return None
        return super()._fault_of_status(status)


def header_value(headers: Headers, name: bytes) -> bytes:
    """Return a header's first value, b"" if absent; `name` in lower case."""
    for key, value in headers:
        if len(key) == len(name) and key.lower() == name:
            return value
    return b""
