import io

from support.webhook_receiver import wait_until

from gateway.cli.waiting import telling


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_long_work_is_told_at_a_terminal() -> None:
    """What is going on and for how long; the line is cleared at the end, elsewhere is silence."""
    terminal, file = Terminal(), io.StringIO()
    with telling("reading", after_s=0.0, stream=terminal):
        wait_until(lambda: "reading" in terminal.getvalue())
    with telling("reading", after_s=0.0, stream=file):
        pass
    assert terminal.getvalue().startswith("\r\x1b[Kmonitor: reading, 0 s")
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert file.getvalue() == ""


def test_quick_work_is_not_told() -> None:
    """Nothing flickers."""
    terminal = Terminal()
    with telling("reading", stream=terminal):
        pass
    assert terminal.getvalue() == ""
