"""A bar that counts what is done."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from morphmlp.output import tell

LINE_EVERY_S = 30.0


@contextmanager
def counting(noun: str, *, enabled: bool = True, lines: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total) that moves a progress bar, with the rate and the time that is left.

    Args:
        lines: where there is no terminal, print a line now and then, for the log of a long work; else nothing is shown.
    """
    console = Console(file=sys.stderr)
    if enabled and lines and not console.is_terminal:
        yield Lines(noun)
        return
    columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (enabled and console.is_terminal), transient=True) as bar:
        task = bar.add_task(noun, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _RateColumn(TextColumn):
    """What is done in a second; nothing until that is known."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else shown_rate(task.speed))


class Lines:
    """Prints a line every half a minute: what is done, the rate of this run, and the time that is left."""

    def __init__(self, noun: str, *, clock: Callable[[], float] = time.monotonic):
        self.noun, self.clock = noun, clock
        self.first: tuple[float, int] | None = None  # when this run began, and what was done by then
        self.last_s = clock()

    def __call__(self, done: int, total: int) -> None:
        now_s = self.clock()
        if self.first is None:
            self.first = (now_s, done)
        if now_s - self.last_s < LINE_EVERY_S:
            return
        self.last_s = now_s
        rate = (done - self.first[1]) / max(now_s - self.first[0], 1e-9)
        left = f", {shown_time((total - done) / rate)} left" if rate else ""
        tell(f"{done:,} of {total:,} {self.noun}, {shown_rate(rate)}{left}")


def shown_rate(per_s: float) -> str:
    """What is done in a second, or a minute where that is little.

    >>> shown_rate(31.2), shown_rate(2.34), shown_rate(0.05)
    ('31/s', '2.3/s', '3.0/min')
    """
    value, unit = (per_s, "s") if per_s >= 1 else (60 * per_s, "min")
    return f"{value:.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"


def shown_time(seconds: float) -> str:
    """
    >>> shown_time(42), shown_time(3900)
    ('0:00:42', '1:05:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
