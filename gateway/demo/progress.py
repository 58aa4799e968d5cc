"""What the demo says while it runs, on stderr: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.clock import Clock

_LINES_A_STEP = 4


class Narrator:
    """Tells the steps and keeps the time of each.

    Attributes
    ----------
    times : dict of str to float
        Seconds of the steps that have ended, in order.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self.times: dict[str, float] = {}
        self._console = console
        self._clock = clock

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step and measure it."""
        number = len(self.times) + 1
        self._console.print(f"\n[bold]{number}. {title}[/bold]", highlight=False)
        started_s = self._clock.monotonic()
        yield
        self.times[title] = self._clock.monotonic() - started_s

    def finish(self, shown_s: float) -> None:
        """Write how long each step took, and the show after its set-up."""
        self._console.print("\n[bold]Done.[/bold]", highlight=False)
        for title, spent_s in self.times.items():
            self.say(f"{spent_s:6.1f} s   {title.partition(':')[0]}")
        self.say(f"{shown_s:6.1f} s   in all after set-up")

    def say(self, text: str) -> None:
        """Write one line of a step."""
        self._console.print(f"   {text}", highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def requests(self, total: int) -> Iterator[Callable[[int, str], None]]:
        """Show requests as they are answered; yields what takes their number and a remark."""
        if not self._console.is_terminal:
            yield self._lines(total)
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        bar = Progress(TextColumn("  "), *columns, TimeElapsedColumn(), console=self._console)
        with bar:
            task = bar.add_task("", total=total)
            yield lambda done, remark: bar.update(
                task, completed=done, total=max(total, done), description=remark
            )

    def _lines(self, total: int) -> Callable[[int, str], None]:
        every = max(1, total // _LINES_A_STEP)

        def show(done: int, remark: str) -> None:
            if done % every == 0 or done == total:
                self.say(f"{done}/{max(done, total)} requests   {remark}")

        return show
