"""What is shown while work goes on: a progress bar on a terminal, a line an epoch of training elsewhere."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingDisplay:
    """Shows steps done, loss, clips a second and the time left; messages go above the bar."""

    def __init__(self, *, total_steps: int, steps_per_epoch: int, enabled: bool = True):
        self.console = Console(file=sys.stderr, quiet=not enabled, highlight=False, soft_wrap=True)
        self.steps_per_epoch = steps_per_epoch
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}  left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=total_steps, figures="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.bar.stop()

    def say(self, message: str) -> None:
        """Prints a line."""
        self.console.print(message, markup=False)

    def step(self, step: int, *, loss: float, rate: str) -> None:
        """Moves the bar."""
        epoch = min((step - 1) // self.steps_per_epoch + 1, self.bar.tasks[0].total // self.steps_per_epoch)  # type: ignore[operator]
        self.bar.update(
            self.task,
            completed=step,
            description=f"epoch {epoch}",
            figures=f"loss {loss:.3f}  {rate}",
        )

    def broken(self, path: Path, reason: str) -> None:
        """Names a video that was left out."""
        self.say(f"left out, cannot be read: {path}: {reason}")

    def evaluating(self, done: int, total: int) -> None:
        """Shows how far an evaluation has come."""
        self.bar.update(self.task, description=f"evaluating {done}/{total}")
