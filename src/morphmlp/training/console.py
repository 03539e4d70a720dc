"""What a training shows: a progress bar on a terminal, and lines, one of them for each evaluation."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from morphmlp.config import RunConfig
from morphmlp.data.media.sources import Source
from morphmlp.distributed import world_size
from morphmlp.formatting import counted, one_line, rate
from morphmlp.tasks.task import Scores, TrainingTask
from morphmlp.training.freeze import describe_parameters
from morphmlp.training.learner import Learner
from morphmlp.training.run_folder import Progress


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Falls silent: a training does not end because nobody reads what it says."""
        self.quiet = True


class TrainingDisplay:
    """Shows steps done, loss, clips a second and the time left; messages go above the bar."""

    def __init__(self, *, total_steps: int, steps_per_epoch: int, enabled: bool = True):
        self.console = _Console(file=sys.stderr, quiet=not enabled, highlight=False, soft_wrap=True)
        self.steps_per_epoch, self.epochs = steps_per_epoch, total_steps // steps_per_epoch
        self.bar = ProgressBar(
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
        self.console.print(one_line(message), markup=False)

    def announce(self, config: RunConfig, task: TrainingTask, learner: Learner, notes: list[str]) -> None:
        """Says what is trained on what."""
        size = " x ".join(map(str, config.input.crop))
        frames = f"{config.model.frames} frames at " if config.model.temporal else ""
        length = "the head alone is fitted"
        if self.epochs:
            length = f"{counted(self.epochs, 'epoch')} of {counted(self.steps_per_epoch, 'step')}"
        select = "" if task.chosen_on == "val" else f", {task.num_chosen_on} held out to choose the epoch by"
        processes = f" in {world_size()} processes" if world_size() > 1 else ""
        self.say(
            f"{config.model.name}, {frames}{size} px, {describe_parameters(learner.raw_model)}, on {learner.device}"
            f"{processes} in {config.train.precision}"
        )
        self.say(
            f"{len(task.train_paths)} training{select} and {task.num_val} validation {task.unit} of "
            f"{config.model.num_classes} classes; {length}"
        )
        for note in [*notes, *task.notes]:
            self.say(note)

    def ended(self, progress: Progress, patience: int | None) -> None:
        """Says so where the run ends before its last step."""
        if progress.step < self.epochs * self.steps_per_epoch:
            self.say(
                f"ends after epoch {progress.step // self.steps_per_epoch} of {self.epochs}, as the last {patience} "
                "evaluations found no better one (--patience)"
            )

    def step(self, step: int, *, loss: float, rate: str) -> None:
        """Moves the bar."""
        epoch = min((step - 1) // self.steps_per_epoch + 1, self.epochs)
        self.bar.update(
            self.task,
            completed=step,
            description=f"epoch {epoch}",
            figures=f"loss {loss:.3f}  {rate}",
        )

    def broken(self, path: Source, reason: str) -> None:
        """Names a sample that was left out."""
        self.say(f"left out, cannot be read: {path}: {reason}")

    def incomplete(self, number: int, path: Source, note: str) -> None:
        """Names the video of this number that was cut off or damaged, and is trained on as far as it goes."""
        self.say(f"incomplete video {number}: {path}: {note}")

    def evaluating(self, done: int, total: int) -> None:
        """Shows how far an evaluation has come."""
        self.bar.update(self.task, description=f"evaluating {done}/{total}")

    def evaluated(self, scores: Scores, task: TrainingTask, progress: Progress) -> None:
        """Says how good the model is after an epoch, and how fast the training."""
        shown = {**task.figures, "loss": "loss"}
        figures = "  ".join(f"{shown[name]} {value:.3f}" for name, value in scores.figures.items() if name in shown)
        missing = f"  ({scores.evaluated} of {task.num_chosen_on} evaluated)" if scores.broken else ""
        if not self.epochs:  # of a probe, which is evaluated once
            self.say(f"{figures}{missing}")
            return
        part = "" if task.chosen_on == "val" else " on the part to choose by"
        self.say(
            f"epoch {progress.step // self.steps_per_epoch}/{self.epochs}  {figures}  "
            f"(best {task.figures[task.metric]} {progress.best_score:.3f}{part})  "
            f"{rate(progress.clips / max(progress.training_s, 1e-9), task.unit)}{missing}"
        )
