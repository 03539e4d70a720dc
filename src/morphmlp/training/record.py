"""What a run writes while it goes on: its log, its checkpoints and its state. Only the main process writes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from morphmlp.checkpoints.folder import CheckpointInfo, write_checkpoint
from morphmlp.config import RunConfig
from morphmlp.config.run import READINGS
from morphmlp.display.curves import plot_curves
from morphmlp.distributed import is_main
from morphmlp.files import replaced_folder
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import Scores, TrainingTask
from morphmlp.training.run_folder import Progress, RunFolder
from morphmlp.training.state import write_state
from morphmlp.training.trackers import send


class RunRecord:
    """Writes into the folder of a run, and sends the figures of the log to the trackers."""

    def __init__(self, config: RunConfig, folder: RunFolder, task: TrainingTask, *, steps_per_epoch: int):
        self.config, self.folder, self.task, self.steps_per_epoch = config, folder, task, steps_per_epoch
        self.trackers: list[GeneralTracker] = []
        self.saved_step: int | None = None

    def log(self, line: dict[str, Any]) -> None:
        """A line of the log, and its figures to the trackers."""
        if is_main():
            self.folder.append(line)
            figures = {name: value for name, value in line.items() if isinstance(value, int | float) and name != "step"}
            send(self.trackers, figures, step=line["step"])

    def draw_curves(self) -> None:
        """Draws the log."""
        if is_main():
            plot_curves(self.folder.log, self.folder.curves, metrics=self.task.figures)

    def checkpoint(self, path: Path, model: MorphMLP, progress: Progress, scores: Scores | None) -> None:
        """Writes a checkpoint in the place of an earlier one."""
        if is_main():
            with replaced_folder(path) as folder:
                write_checkpoint(model, folder, self._info(progress, scores))

    def state(self, model: MorphMLP, progress: Progress, learner_state: dict[str, Any]) -> None:
        """Writes `last`: a checkpoint like any other, and beside it what resuming needs."""

        def write(folder: Path) -> None:
            write_checkpoint(model, folder, self._info(progress, None))
            write_state(folder, {"progress": asdict(progress), "data": self.task.fingerprint} | learner_state)

        if is_main():
            self.folder.replace_last(write)
        self.saved_step = progress.step

    def _info(self, progress: Progress, scores: Scores | None) -> CheckpointInfo:
        """What the checkpoint says beside the weights."""
        task, config = self.task, self.config
        summary: dict[str, Any] = {
            "data": config.data,
            task.unit: len(task.train_paths),
            **task.summary(),
            "epochs": round(progress.step / self.steps_per_epoch, 3),
            "init": config.init,
            **{name: getattr(config, name).to_dict() for name in READINGS},
            "settings": config.train.to_dict(),
        }
        if scores is not None:
            summary |= {f"val_{task.metric}": scores.figures[task.metric], f"val_{task.unit}": scores.evaluated}
        return CheckpointInfo(input=config.input, labels=list(task.classes), training=summary, **task.answers())
