"""One request's way into the prediction log: BEGIN and END, each exactly once."""

from collections.abc import Awaitable

import msgspec

from gateway.recording import Recorder, RequestRecord
from router.clock import Clock
from router.errors import Reason
from router.outcome import Outcome
from storage.spool import Spool


class RequestLog(msgspec.Struct):
    """Holds a record until it is written; whoever ends the request first writes it."""

    spool: Spool
    recorder: Recorder
    clock: Clock
    record: RequestRecord
    outcome: Outcome
    ended: bool = False

    async def begin(self) -> None:
        """Write BEGIN; returns when it would survive SIGKILL.

        Raises
        ------
        storage.errors.SpoolUnavailable
            It cannot be written and the policy is `fail_closed`.
        """
        self.spool.begin(self.record.begin())
        await self.spool.flushed()

    def end(self, status: int, reason: Reason | None = None) -> Awaitable[bool]:
        """Write END, before the last byte leaves: await what it returns; see `begin`."""
        if not self.ended:
            self._queue_end(status, reason)
        return self.spool.flushed()

    def end_now(self, status: int, reason: Reason | None) -> None:
        """Write END without waiting: for requests whose client is gone."""
        if not self.ended:
            self._queue_end(status, reason)
            self.spool.flush()

    def _queue_end(self, status: int, reason: Reason | None) -> None:
        record = self.record
        record.status, record.reason = status, reason
        self.ended = True
        now_s = self.clock.monotonic()
        self.spool.end(self.recorder.end(record, self.outcome.attempts, now_s=now_s))
