"""Reading what the control plane answers."""

from typing import TypeVar

T = TypeVar("T")


def decode(text: bytes, type_: type[T]) -> T:
    """Return an answer's JSON as a record.

    Raises
    ------
    ServerGone
        It is none: something else answers there.
    """
    import msgspec

    from gateway.cli.source import ServerGone

    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError as error:
        raise ServerGone(f"its answer cannot be read: {error}") from error
