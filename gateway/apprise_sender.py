"""Notifications by the library Apprise, in a process of its own.

Its import takes 0.3 s and its calls block: neither belongs into the process that writes the log,
and a process can be ended where a thread cannot.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from monitors.alerts.config import AppriseConfig, read_secret
from monitors.alerts.messages import message_of
from monitors.alerts.outbox import Result

_PROGRAM = ("-m", "driftgate", "_apprise")
_LONGEST_ANSWER_BYTES = 65_536


async def send_by_apprise(
    config: AppriseConfig, message_id: str, document: Mapping[str, Any]
) -> Result:
    """Hand a notification over; cancelled, the process is ended.

    Raises
    ------
    OSError
        The file with the URL cannot be read, or no process can be started.
    """
    url = await asyncio.to_thread(read_secret, config.url, config.url_file)
    message = message_of(document, message_id)
    # By its input: arguments of processes are shown to every user of the machine.
    asked = {
        "url": url,
        "title": message.title,
        "body": "\n".join((*message.lines, message.note)),
        "type": message.tone,
        "allow_private": config.allow_private,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        answer, _ = await process.communicate(msgspec.json.encode(asked))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        return Result(None, f"the process that runs Apprise ended with {process.returncode}")
    error = answer[:_LONGEST_ANSWER_BYTES].decode("utf-8", "replace").strip()
    return Result(None, error or None)
