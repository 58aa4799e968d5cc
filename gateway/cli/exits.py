"""Exit codes, and how errors become them."""

import errno
import sys

import click

from gateway.errors import ConfigError, GatewayError
from storage.errors import StorageError

GOOD = 0
GATE_TRIPPED = 1
USAGE = 2
NOT_ENOUGH_DATA = 3
UNREACHABLE = 4

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class NotEnoughDataError(GatewayError):
    """There is nothing, or nothing recent enough, to answer from."""


class UnreachableError(GatewayError):
    """Neither a server nor its files could be read."""


def run_command(command: click.Command, arguments: list[str]) -> int:
    """Run a click command; say what went wrong on stderr, in one sentence."""
    try:
        result = command.main(args=arguments, prog_name="monitor", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE
    except click.Abort:
        return USAGE
    except SystemExit:
        # Click's word for a closed pipe: whoever read has seen enough, and no gate tripped.
        return GOOD
    except ConfigError as error:
        return _say(error, USAGE)
    except NotEnoughDataError as error:
        return _say(error, NOT_ENOUGH_DATA)
    except (UnreachableError, StorageError) as error:
        return _say(error, UNREACHABLE)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        # A traceback's 1 would say that a gate tripped.
        return _say(f"the output is not whole: {error.strerror or error}", UNREACHABLE)
    return result if isinstance(result, int) else GOOD


def _say(error: Exception | str, code: int) -> int:
    print(f"monitor: {error}", file=sys.stderr)  # noqa: T201  (the command line's own output)
    return code
