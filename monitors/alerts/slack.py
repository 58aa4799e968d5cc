"""Notifications as Slack's incoming webhooks take them: a text, and blocks."""

from collections.abc import Mapping
from typing import Any

import msgspec

from monitors.alerts.messages import message_of

GAP_S = 1.0
"""Slack takes one message a second for each hook."""
_SECTION_CHARS = 3_000


def slack_body(document: Mapping[str, Any], message_id: str) -> bytes:
    """Return the JSON of a message; nothing in it can mention a person or a channel.

    References
    ----------
    Slack, "Sending messages using incoming webhooks" and "Formatting text": `&`, `<`, `>` are
    escaped, a header holds 150 characters, a section 3,000.
    """
    message = message_of(document, message_id)
    lines = "\n".join(message.lines)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title}},
        {"type": "section", "text": {"type": "mrkdwn", "text": _fitted(lines)}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(message.note)}]},
    ]
    text = _escaped(f"{message.title}: {message.lines[0]}")
    return msgspec.json.encode({"text": text, "blocks": blocks})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fitted(text: str) -> str:
    # Cut before the escaping, or half an entity could stand at the end.
    for kept in (_SECTION_CHARS, _SECTION_CHARS // 2, _SECTION_CHARS // 5):
        shown = _escaped(text[:kept])
        if len(shown) <= _SECTION_CHARS:
            break
    return shown
