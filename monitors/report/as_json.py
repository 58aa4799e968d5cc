"""The report as JSON, and back."""

import msgspec

from monitors.report.model import REPORT_VERSION, Report


class ReportUnreadable(ValueError):
    """The text is no report, or one of a version that this program does not know."""


class _Versioned(msgspec.Struct):
    version: int


def encode_report(report: Report) -> bytes:
    """Return indented JSON with a final newline; keys are the fields' names."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode_report(text: bytes) -> Report:
    """Return the report; keys that are not known, of a later minor addition, are left out.

    Raises
    ------
    ReportUnreadable
        The message says what to do.
    """
    try:
        version = msgspec.json.decode(text, type=_Versioned).version
        if version == REPORT_VERSION:
            return msgspec.json.decode(text, type=Report)
    except msgspec.MsgspecError as error:
        raise ReportUnreadable(f"this is no report: {error}") from error
    raise ReportUnreadable(
        f"the report has version {version}, this program knows {REPORT_VERSION};"
        " use the program that the server runs"
    )
