"""Ends a coroutine in order when the process is told to end, whichever signal says so."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from gateway.demo.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`; the first signal cancels it, so that it clears up, and others change nothing.

    Raises
    ------
    Interrupted
        A signal came.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    current = asyncio.current_task()
    assert current is not None

    def tell() -> None:
        if not told.is_set():
            told.set()
            current.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, tell)
    try:
        await work
    except asyncio.CancelledError:
        if told.is_set():
            raise Interrupted("a signal ended the demo") from None
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
